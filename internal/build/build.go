// Package build knows which build of the service is running, as the Go toolchain
// recorded it. It knows nothing of who asks.
package build

import (
	"runtime"
	"runtime/debug"
)

// Version is what is known of a build.
type Version struct {
	Version   string // a tag such as v1.2.3, a pseudo-version, or "(devel)"
	Revision  string // the commit; empty if the build did not know it
	Modified  bool   // there were changes that are in no commit
	GoVersion string // such as go1.26.8
}

// Info reads the running program's own.
func Info() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version{Version: "unknown", GoVersion: runtime.Version()}
	}
	return read(info)
}

func read(info *debug.BuildInfo) Version {
	v := Version{Version: info.Main.Version, GoVersion: info.GoVersion}
	if v.Version == "" {
		v.Version = "unknown"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

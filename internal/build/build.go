// Package build returns the version of the running program, as the Go toolchain recorded it.
package build

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"time"
)

// Unknown is the version of a program without a recorded version.
const Unknown = "unknown"

// Version describes a build.
type Version struct {
	Version   string    // a tag such as v1.2.3, a pseudo-version, or "(devel)"; tags and pseudo-versions end in +dirty if Modified
	Revision  string    // commit hash; empty if not recorded
	Time      time.Time // time of the commit in UTC; zero if not recorded
	Modified  bool      // whether there were uncommitted changes; has no meaning if Revision is empty
	GoVersion string    // for example go1.26.8
}

// Info returns the version of the running program.
func Info() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version{Version: Unknown, GoVersion: runtime.Version()}
	}
	return read(info)
}

func read(info *debug.BuildInfo) Version {
	v := Version{
		Version:   cmp.Or(info.Main.Version, Unknown),
		GoVersion: cmp.Or(info.GoVersion, runtime.Version()),
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				v.Time = t.UTC()
			}
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

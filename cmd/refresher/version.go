package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"refresher/internal/build"
)

type versionCommand struct {
	JSON bool `help:"As JSON." name:"json"`
}

// Run prints what the Go toolchain recorded about this build.
func (c versionCommand) Run() error {
	return printVersion(os.Stdout, build.Info(), c.JSON)
}

// versionReport is the output with --json. It omits what the build did not record.
type versionReport struct {
	Version   string     `json:"version"`
	Revision  string     `json:"revision,omitempty"`
	Time      *time.Time `json:"time,omitempty"`
	Modified  *bool      `json:"modified,omitempty"`
	GoVersion string     `json:"goVersion"`
	OS        string     `json:"os"`
	Arch      string     `json:"arch"`
}

func printVersion(w io.Writer, v build.Version, asJSON bool) error {
	r := versionReport{Version: v.Version, Revision: v.Revision, GoVersion: v.GoVersion, OS: runtime.GOOS, Arch: runtime.GOARCH}
	if v.Revision != "" {
		r.Modified = &v.Modified
	}
	if !v.Time.IsZero() {
		r.Time = &v.Time
	}
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	commit := "unknown" // go run records no commit, and neither does a build outside a repository
	if v.Revision != "" {
		commit = v.Revision
		if r.Time != nil {
			commit += " of " + v.Time.Format(time.RFC3339)
		}
		if v.Modified {
			commit += " and changes that are in no commit"
		}
	}
	_, err := fmt.Fprintf(w, "refresher %s, commit %s, %s %s/%s\n", r.Version, commit, r.GoVersion, r.OS, r.Arch)
	return err
}

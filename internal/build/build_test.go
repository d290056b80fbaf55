package build

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	const revision = "9afd167c0b1d2e3f405162738495a6b7c8d9e0f1"
	committed := time.Date(2026, 11, 24, 2, 44, 14, 0, time.UTC)

	for name, c := range map[string]struct {
		version  string
		settings []debug.BuildSetting
		want     Version
	}{
		"a release": {
			"v1.2.3",
			[]debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: revision}, {Key: "vcs.time", Value: "2026-11-24T02:44:14Z"}, {Key: "vcs.modified", Value: "false"}},
			Version{Version: "v1.2.3", Revision: revision, Time: committed},
		},
		"with changes": {
			"v1.2.3+dirty",
			[]debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.time", Value: "2026-11-24T03:44:14+01:00"}, {Key: "vcs.modified", Value: "true"}},
			Version{Version: "v1.2.3+dirty", Revision: revision, Time: committed, Modified: true},
		},
		"outside a repository":    {"(devel)", []debug.BuildSetting{{Key: "-trimpath", Value: "true"}}, Version{Version: "(devel)"}},
		"a test":                  {"", nil, Version{Version: "unknown"}},
		"a time that is no time":  {"(devel)", []debug.BuildSetting{{Key: "vcs.time", Value: "yesterday"}}, Version{Version: "(devel)"}},
		"a word that is no truth": {"(devel)", []debug.BuildSetting{{Key: "vcs.modified", Value: "perhaps"}}, Version{Version: "(devel)"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.GoVersion = "go1.26.8"
			got := read(&debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: "refresher", Version: c.version}, Settings: c.settings})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInfo(t *testing.T) {
	if got := Info(); got.Version == "" || got.GoVersion != runtime.Version() {
		t.Errorf("%+v", got)
	}
}

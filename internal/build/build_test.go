package build

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	committed := time.Date(2026, 11, 24, 2, 44, 14, 0, time.UTC)
	for _, c := range []struct {
		version, revision, at, modified string
		want                            Version
	}{
		{"v1.2.3", "9afd16", "2026-11-24T02:44:14Z", "false", Version{Version: "v1.2.3", Revision: "9afd16", Time: committed}},
		{"v1.2.3+dirty", "9afd16", "2026-11-24T03:44:14+01:00", "true", Version{Version: "v1.2.3+dirty", Revision: "9afd16", Time: committed, Modified: true}},
		{"", "", "yesterday", "perhaps", Version{Version: Unknown}},
	} {
		c.want.GoVersion = "go1.26.8"
		got := read(&debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: c.version}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: c.revision}, {Key: "vcs.time", Value: c.at}, {Key: "vcs.modified", Value: c.modified},
		}})
		if got != c.want {
			t.Errorf("got  %+v\nwant %+v", got, c.want)
		}
	}
}

func TestInfo(t *testing.T) {
	if got := Info(); got.Version == "" || got.GoVersion != runtime.Version() {
		t.Errorf("%+v", got)
	}
}

package main

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/build"
)

func TestPrintVersion(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	tail := `"goVersion":"go1.26.8","os":"` + runtime.GOOS + `","arch":"` + runtime.GOARCH + `"}`
	committed := time.Date(2026, 11, 24, 2, 44, 14, 0, time.UTC)
	for _, c := range []struct {
		version    build.Version
		text, json string
	}{
		{
			build.Version{Version: "v1.2.3", Revision: "9afd167c", Time: committed},
			"refresher v1.2.3, commit 9afd167c of 2026-11-24T02:44:14Z, go1.26.8 " + platform,
			`{"version":"v1.2.3","revision":"9afd167c","time":"2026-11-24T02:44:14Z","modified":false,` + tail,
		},
		{
			build.Version{Version: "v1.2.3+dirty", Revision: "9afd167c", Modified: true},
			"refresher v1.2.3+dirty, commit 9afd167c and changes that are in no commit, go1.26.8 " + platform,
			`{"version":"v1.2.3+dirty","revision":"9afd167c","modified":true,` + tail,
		},
		{build.Version{Version: "(devel)"}, "refresher (devel), commit unknown, go1.26.8 " + platform, `{"version":"(devel)",` + tail},
	} {
		c.version.GoVersion = "go1.26.8"
		for asJSON, want := range map[bool]string{false: c.text, true: c.json} {
			var got bytes.Buffer
			err := printVersion(&got, c.version, asJSON)
			if diff := cmp.Diff(want+"\n", got.String()); diff != "" || err != nil {
				t.Errorf("%v: %s", err, diff)
			}
		}
	}
}

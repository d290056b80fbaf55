package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/build"
)

func TestPrintVersion(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	tail := `"goVersion":"go1.26.8","os":"` + runtime.GOOS + `","arch":"` + runtime.GOARCH + `"}`
	committed := time.Date(2026, 11, 24, 2, 44, 14, 0, time.UTC)

	for name, c := range map[string]struct {
		version    build.Version
		text, json string
	}{
		"a release": {
			build.Version{Version: "v1.2.3", Revision: "9afd167c", Time: committed, GoVersion: "go1.26.8"},
			"refresher v1.2.3, commit 9afd167c of 2026-11-24T02:44:14Z, go1.26.8 " + platform,
			`{"version":"v1.2.3","revision":"9afd167c","time":"2026-11-24T02:44:14Z","modified":false,` + tail,
		},
		"with changes": {
			build.Version{Version: "v1.2.3+dirty", Revision: "9afd167c", Time: committed, Modified: true, GoVersion: "go1.26.8"},
			"refresher v1.2.3+dirty, commit 9afd167c of 2026-11-24T02:44:14Z and changes that are in no commit, go1.26.8 " + platform,
			`{"version":"v1.2.3+dirty","revision":"9afd167c","time":"2026-11-24T02:44:14Z","modified":true,` + tail,
		},
		"without a time": {
			build.Version{Version: "(devel)", Revision: "9afd167c", GoVersion: "go1.26.8"},
			"refresher (devel), commit 9afd167c, go1.26.8 " + platform,
			`{"version":"(devel)","revision":"9afd167c","modified":false,` + tail,
		},
		"outside a repository": {
			build.Version{Version: "(devel)", GoVersion: "go1.26.8"},
			"refresher (devel), commit unknown, go1.26.8 " + platform,
			`{"version":"(devel)",` + tail,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for asJSON, want := range map[bool]string{false: c.text, true: c.json} {
				var got bytes.Buffer
				if err := printVersion(&got, c.version, asJSON); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want+"\n", got.String()); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// Each way to build the command reports the correct version. The test builds a small module with the
// command's own files instead of the whole service.
func TestVersionOfEachBuild(t *testing.T) {
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	for name, text := range map[string]string{
		"go.mod":                     "module refresher\n\ngo 1.26\n",
		"internal/build/build.go":    readText(t, "../../internal/build/build.go"),
		"cmd/refresher/version.go":   readText(t, "version.go"),
		"cmd/refresher/main.go":      "package main\n\nimport \"os\"\n\nfunc main() {\n\tif err := (versionCommand{JSON: len(os.Args) > 2}).Run(); err != nil {\n\t\tpanic(err)\n\t}\n}\n",
		"cmd/refresher/changed.text": "",
	} {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := func(args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), args[0], args[1:]...)
		c.Dir = work
		c.Env = append(os.Environ(), "GOENV=off", "GOFLAGS=", "GOWORK=off", "GOBIN="+dir, "CGO_ENABLED=0",
			"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES="+dir,
			"GIT_AUTHOR_DATE=2026-11-24T03:44:14+01:00", "GIT_COMMITTER_DATE=2026-11-24T03:44:14+01:00")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	said := func(binary string) versionReport {
		t.Helper()
		var r versionReport
		if err := json.Unmarshal([]byte(in(binary, "version", "--json")), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	built := filepath.Join(dir, "built")
	build := []string{"go", "build", "-trimpath", "-o", built, "./cmd/refresher"}

	in(build...)
	if got := said(built); got.Version != "(devel)" || got.Revision != "" || got.Modified != nil || got.Time != nil {
		t.Errorf("built outside a repository: %+v", got)
	}

	in("git", "init", "-q")
	in("git", "add", ".")
	in("git", "-c", "user.name=Ana", "-c", "user.email=ana@example.com", "commit", "-q", "-m", "A commit")
	commit := in("git", "rev-parse", "HEAD")
	pseudo := regexp.MustCompile(`^v0\.0\.0-20261124024414-` + commit[:12] + `$`)
	in(build...)
	if got := said(built); !pseudo.MatchString(got.Version) || got.Revision != commit || *got.Modified || got.Time.Format(time.RFC3339) != "2026-11-24T02:44:14Z" {
		t.Errorf("built from a commit: %+v", got)
	}
	if got := in("go", "run", "./cmd/refresher", "version"); !strings.HasPrefix(got, "refresher (devel), commit unknown, go1.") {
		t.Errorf("run: %s", got)
	}

	in("git", "tag", "v1.2.3")
	in("go", "install", "./cmd/refresher")
	if got := said(filepath.Join(dir, "refresher")); got.Version != "v1.2.3" || got.Revision != commit || *got.Modified {
		t.Errorf("installed from a tag: %+v", got)
	}

	if err := os.WriteFile(filepath.Join(work, "cmd/refresher/changed.text"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	in(build...)
	if got := said(built); got.Version != "v1.2.3+dirty" || got.Revision != commit || !*got.Modified {
		t.Errorf("built from a tree with changes: %+v", got)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package release

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func run(t *testing.T, dir string, env []string, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), args[0], args[1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// Two builds of one commit, in two folders, have the same bytes. The bill of materials lists exactly the modules in the
// binary.
func TestReproduce(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary, other := filepath.Join(dir, "refresher"), filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("other bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, dir, []string{"KEEP=" + binary}, root+"/scripts/reproduce.sh", "HEAD", "linux", "amd64", other)
	if err == nil || !strings.Contains(out, "other has other bytes") {
		t.Fatalf("%v: %s", err, out)
	}
	// The second build is in another folder with a longer name, with settings that would
	// change the binary.
	elsewhere := filepath.Join(dir, "a folder with a longer name")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{"TMPDIR=" + elsewhere, "GOFLAGS=-tags=other -ldflags=-X=main.a=b", "GOAMD64=v3", "CGO_ENABLED=1"}
	out, err = run(t, dir, env, root+"/scripts/reproduce.sh", "HEAD", "linux", "amd64", binary)
	if err != nil || !strings.Contains(out, "refresher has the same bytes") {
		t.Errorf("%v: %s", err, out)
	}

	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	head, err := run(t, root, nil, "git", "rev-parse", "HEAD")
	if err != nil {
		t.Fatal(head)
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["vcs.revision"] != strings.TrimSpace(head) || settings["vcs.modified"] != "false" || settings["-trimpath"] != "true" || settings["CGO_ENABLED"] != "0" {
		t.Errorf("built with %v", settings)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(program, []byte(root)) || bytes.Contains(program, []byte(dir)) {
		t.Error("the binary names a folder of this machine")
	}

	checkSBOM(t, root, binary, info)
}

func checkSBOM(t *testing.T, root, binary string, info *buildinfo.BuildInfo) {
	t.Helper()
	output := binary + ".cdx.json"
	if out, err := run(t, root, nil, "scripts/sbom.sh", binary, output); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Format   string `json:"bomFormat"`
		Metadata struct {
			Component struct{ Name, Version string } `json:"component"`
		} `json:"metadata"`
		Components []struct{ Name, Version string } `json:"components"`
	}
	if err := json.Unmarshal(text, &bill); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range bill.Components {
		got = append(got, c.Name+" "+c.Version)
	}
	want := []string{"std " + info.GoVersion}
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		want = append(want, d.Path+" "+d.Version)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Errorf("the bill of materials is not what is in the binary: %s", diff)
	}
	if main := bill.Metadata.Component; bill.Format != "CycloneDX" || main.Name != info.Main.Path || main.Version != info.Main.Version {
		t.Errorf("it is of %+v; want %+v", main, info.Main)
	}
	if bytes.Contains(text, []byte(root)) {
		t.Error("it names a folder of this machine")
	}
}

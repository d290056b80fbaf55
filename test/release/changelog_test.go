package release

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	heading = regexp.MustCompile(`(?m)^## (.*)$`)
	release = regexp.MustCompile(`^\[(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)\] - \d{4}-\d\d-\d\d$`)
	kind    = regexp.MustCompile(`(?m)^### (.*)$`)
)

// The changelog has the form of keepachangelog.com, which scripts/release-notes.sh reads:
// unreleased changes first, then releases, each with a link. The library has the number of the
// newest release.
func TestChangelog(t *testing.T) {
	t.Parallel()
	text := read(t, "CHANGELOG.md")
	newest := ""
	for i, h := range heading.FindAllStringSubmatch(text, -1) {
		name := "Unreleased"
		if i > 0 {
			m := release.FindStringSubmatch(h[1])
			if m == nil {
				t.Fatalf("## %s: want [VERSION] - YYYY-MM-DD", h[1])
			}
			name = m[1]
			newest = cmp.Or(newest, name)
		} else if h[1] != "[Unreleased]" {
			t.Errorf("## %s: want [Unreleased] first", h[1])
		}
		if !strings.Contains(text, "\n["+name+"]: ../../") {
			t.Errorf("%s has no link", name)
		}
	}
	for _, k := range kind.FindAllStringSubmatch(text, -1) {
		if !slices.Contains([]string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}, k[1]) {
			t.Errorf("### %s: unknown", k[1])
		}
	}
	if newest == "" {
		return // the library already has the number of the first release
	}
	var library struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal([]byte(read(t, "web/client/package.json")), &library); err != nil || library.Version != newest {
		t.Errorf("the library is %q, the newest release %s (%v)", library.Version, newest, err)
	}
}

const sample = `# Changelog

## [Unreleased]

## [1.10.0] - 2026-12-02
### Added
- Ten.
### Fixed
- Ten again.

## [1.9.0] - 2026-12-01
### Removed
- Nine.

## [1.9.0-rc.1] - 2026-12-01
### Added
- Nearly nine.

[Unreleased]: ../../compare/v1.10.0...HEAD
[1.10.0]: ../../compare/v1.9.0...v1.10.0
[1.9.0]: ../../compare/v1.9.0-rc.1...v1.9.0
[1.9.0-rc.1]: ../../releases/tag/v1.9.0-rc.1
`

func TestReleaseNotes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/scripts", 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"/CHANGELOG.md": sample, "/scripts/release-notes.sh": read(t, "scripts/release-notes.sh")} {
		if err := os.WriteFile(dir+path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	notes := func(version string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "bash", dir+"/scripts/release-notes.sh", version).Output()
		return strings.TrimSpace(string(out)), err
	}
	for version, want := range map[string]string{
		"v1.10.0":     "### Added\n- Ten.\n### Fixed\n- Ten again.",
		"v1.9.0":      "### Removed\n- Nine.",
		"v1.9.0-rc.1": "### Added\n- Nearly nine.",
	} {
		if got, err := notes(version); err != nil || got != want {
			t.Errorf("%s: %q, %v", version, got, err)
		}
	}
	for _, version := range []string{"v1.9", "v2.0.0", "Unreleased"} {
		if got, err := notes(version); err == nil {
			t.Errorf("%s: %q", version, got)
		}
	}
}

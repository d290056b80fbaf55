package release

import (
	"os"
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

// The changelog has the form of keepachangelog.com, which scripts/release-notes.sh reads: unreleased changes first,
// then releases, each with a link. The version of the browser library is the newest release.
func TestChangelog(t *testing.T) {
	t.Parallel()
	text := read(t, "CHANGELOG.md")
	headings := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(text, -1)
	if headings[0][1] != "[Unreleased]" {
		t.Errorf("## %s: want [Unreleased] first", headings[0][1])
	}
	for i, h := range headings[1:] {
		m := regexp.MustCompile(`^\[(\d+\.\d+\.\d+\S*)\] - \d{4}-\d\d-\d\d$`).FindStringSubmatch(h[1])
		if m == nil || !strings.Contains(text, "\n["+m[1]+"]: ../../") {
			t.Fatalf("## %s: want [VERSION] - YYYY-MM-DD, and a link for the version", h[1])
		}
		if i == 0 && !strings.Contains(read(t, "web/client/package.json"), `"version": "`+m[1]+`"`) {
			t.Errorf("the newest release is %s; web/client/package.json has another version", m[1])
		}
	}
	for _, k := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains([]string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}, k[1]) {
			t.Errorf("### %s: unknown", k[1])
		}
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
	for version, want := range map[string]string{
		"v1.10.0":     "### Added\n- Ten.\n### Fixed\n- Ten again.",
		"v1.9.0":      "### Removed\n- Nine.",
		"v1.9.0-rc.1": "### Added\n- Nearly nine.",
		"v1.9":        "", "v2.0.0": "", "Unreleased": "",
	} {
		out, err := run(t, dir, nil, "bash", "scripts/release-notes.sh", version)
		if (err == nil) != (want != "") || want != "" && strings.TrimSpace(out) != want {
			t.Errorf("%s: %q, %v", version, out, err)
		}
	}
}

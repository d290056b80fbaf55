package release

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
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
	heading = regexp.MustCompile(`^## \[(?:Unreleased|(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)\] - (\d{4}-\d\d-\d\d))\]?$`)
	link    = regexp.MustCompile(`^\[([^\]]+)\]: (\S+)$`)
	kinds   = []string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
)

// problems are what is wrong with the form of a changelog, and releases those in
// it, the newest first.
func problems(text string) (found, releases []string) {
	wrong := func(what string) { found = append(found, what) }
	if !strings.HasPrefix(text, "# Changelog\n") {
		wrong("no title")
	}
	links := make(map[string]string)
	kind, entries, unreleased, before := -1, 0, false, "9999-99-99"
	closeKind := func() {
		if kind >= 0 && entries == 0 {
			wrong("nothing under " + kinds[kind])
		}
		kind, entries = -1, 0
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "## "):
			closeKind()
			m := heading.FindStringSubmatch(line)
			switch {
			case m == nil:
				wrong(line)
			case m[1] == "":
				if unreleased || len(releases) > 0 {
					wrong("Unreleased is not the first, and the only one")
				}
				unreleased = true
			default:
				if _, err := time.Parse(time.DateOnly, m[2]); err != nil || m[2] > before {
					wrong(line + ": the date")
				}
				if len(releases) > 0 && compare(m[1], releases[len(releases)-1]) >= 0 {
					wrong(line + ": the order")
				}
				before, releases = m[2], append(releases, m[1])
			}
		case strings.HasPrefix(line, "### "):
			was := kind
			closeKind()
			kind = slices.Index(kinds, line[4:])
			if kind < 0 || kind <= was || !unreleased {
				wrong(line + ": unknown, twice, or out of order")
			}
		case strings.HasPrefix(line, "- "):
			entries++
			if kind < 0 {
				wrong("of no kind: " + line)
			}
		default:
			if m := link.FindStringSubmatch(line); m != nil {
				closeKind()
				if _, twice := links[m[1]]; twice {
					wrong("two links for " + m[1])
				}
				links[m[1]] = m[2]
			}
		}
	}
	closeKind()
	if !unreleased {
		wrong("no Unreleased")
	}
	for name, to := range wantLinks(releases) {
		if links[name] != to {
			wrong("link of " + name + ": want " + to)
		}
		delete(links, name)
	}
	for name := range links {
		wrong("a link of nothing: " + name)
	}
	return found, releases
}

// wantLinks compares each release with the one before it.
func wantLinks(releases []string) map[string]string {
	want := map[string]string{"Unreleased": "../../commits/HEAD"}
	for i, r := range releases {
		if i == 0 {
			want["Unreleased"] = "../../compare/v" + r + "...HEAD"
		}
		if i == len(releases)-1 {
			want[r] = "../../releases/tag/v" + r
		} else {
			want[r] = "../../compare/v" + releases[i+1] + "...v" + r
		}
	}
	return want
}

// compare orders versions; what comes before a release is lower than it.
func compare(a, b string) int {
	coreA, preA, isPreA := strings.Cut(a, "-")
	coreB, preB, isPreB := strings.Cut(b, "-")
	byNumber := func(x, y string) int {
		nx, errX := strconv.Atoi(x)
		ny, errY := strconv.Atoi(y)
		if errX != nil || errY != nil {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(nx, ny)
	}
	if c := slices.CompareFunc(strings.Split(coreA, "."), strings.Split(coreB, "."), byNumber); c != 0 {
		return c
	}
	if isPreA != isPreB {
		return map[bool]int{true: -1, false: 1}[isPreA]
	}
	return slices.CompareFunc(strings.Split(preA, "."), strings.Split(preB, "."), byNumber)
}

func TestChangelog(t *testing.T) {
	t.Parallel()
	found, releases := problems(read(t, "CHANGELOG.md"))
	for _, p := range found {
		t.Error(p)
	}
	if len(releases) == 0 {
		return // the library already has the number of the first
	}
	var library struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal([]byte(read(t, "web/client/package.json")), &library); err != nil || library.Version != releases[0] {
		t.Errorf("the library is %q, the newest release %s (%v)", library.Version, releases[0], err)
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

// The check sees what is wrong, so that it means something where nothing is.
func TestChangelogProblems(t *testing.T) {
	t.Parallel()
	if found, _ := problems(sample); len(found) > 0 {
		t.Fatal(found)
	}
	for from, to := range map[string]string{
		"# Changelog":                         "# Changes",
		"## [Unreleased]\n":                   "",
		"2026-12-02":                          "2026-13-02",
		"[1.10.0] - 2026-12-02":               "[1.10.0] - 2026-11-02",
		"## [1.10.0]":                         "## [1.8.0]",
		"## [1.9.0] -":                        "## 1.9.0 -",
		"### Added\n- Ten.":                   "### New\n- Ten.",
		"- Nine.\n":                           "",
		"### Fixed":                           "### Added",
		"[1.9.0]: ":                           "[1.9.9]: ",
		"/v1.9.0...v1.10.0":                   "/v1.8.0...v1.10.0",
		"## [1.10.0] - 2026-12-02\n### Added": "## [1.10.0] - 2026-12-02\n- Bare.\n### Added",
	} {
		if found, _ := problems(strings.Replace(sample, from, to, 1)); len(found) == 0 {
			t.Errorf("%q for %q passes", to, from)
		}
	}
}

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

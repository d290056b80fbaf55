package logs

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// table reads the rows of the table in docs/operate/logs.md whose first column has the given title.
func table(t *testing.T, title string) (rows [][]string) {
	t.Helper()
	page, err := os.ReadFile(root + "/docs/operate/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for row := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(row, "|"):
			inside = false
		case cells[0] == title:
			inside = true
		case inside && !strings.HasPrefix(row, "|---"):
			rows = append(rows, cells)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("docs/operate/logs.md has no table whose first column is %q", title)
	}
	return rows
}

var quoted = regexp.MustCompile("`([^`]+)`")

// codes returns the words in backquotes of a table cell.
func codes(cell string) (words []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		words = append(words, m[1])
	}
	slices.Sort(words)
	return words
}

func TestEachMessageIsDocumented(t *testing.T) {
	s := readSource(t)
	for _, p := range s.problems {
		t.Error(p)
	}
	var want, have []string
	for _, l := range s.lines {
		want = append(want, l.level+" | "+l.message+" | "+strings.Join(l.keys, ", "))
	}
	for _, row := range table(t, "message") {
		if len(row) != 5 {
			t.Fatalf("%q: want message, level, component, keys and meaning", row)
		}
		if row[4] == "" {
			t.Errorf("%s: no meaning", row[0])
		}
		if !slices.Contains(s.components, strings.Trim(row[2], "`")) && row[2] != "" {
			t.Errorf("%s: there is no component %s", row[0], row[2])
		}
		have = append(have, row[1]+" | "+strings.Join(codes(row[0]), "")+" | "+strings.Join(codes(row[3]), ", "))
	}
	slices.Sort(want)
	slices.Sort(have)
	if diff := cmp.Diff(slices.Compact(want), have); diff != "" {
		t.Errorf("in the source (-), in docs/operate/logs.md (+):\n%s", diff)
	}
}

func TestEachKeyIsDocumented(t *testing.T) {
	s := readSource(t)
	want := slices.Clone(s.carried)
	for _, l := range s.lines {
		want = append(want, l.keys...)
	}
	var have []string
	for _, row := range table(t, "key") {
		have = append(have, codes(row[0])...)
	}
	slices.Sort(want)
	slices.Sort(have)
	if diff := cmp.Diff(slices.Compact(want), have); diff != "" {
		t.Errorf("in the source (-), in docs/operate/logs.md (+):\n%s", diff)
	}
}

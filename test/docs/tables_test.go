package docs

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sections returns the sections of a text, keyed by their headings of level two and three.
func sections(text string) map[string]string {
	found := make(map[string]string)
	heading, quoted := "", false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			quoted = !quoted
		}
		if !quoted && (strings.HasPrefix(line, "## ") || strings.HasPrefix(line, "### ")) {
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
		found[heading] += line
	}
	return found
}

// section returns the text below one heading, up to the next heading.
func section(text, heading string) string { return sections(text)[heading] }

// tables returns the tables in a text as rows of cells. The first row is the table's head.
func tables(text string) [][][]string {
	var found [][][]string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		if !inside {
			found = append(found, nil)
			inside = true
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		last := len(found) - 1
		found[last] = append(found[last], cells)
	}
	return found
}

// tableOf returns the rows of the table with that head, keyed by their first cell without backticks.
func tableOf(t *testing.T, text string, head ...string) map[string][]string {
	t.Helper()
	for _, table := range tables(text) {
		if !slices.Equal(table[0], head) {
			continue
		}
		rows := make(map[string][]string)
		for _, row := range table[1:] {
			rows[strings.Trim(row[0], "`")] = row
		}
		return rows
	}
	t.Fatalf("there is no table %q", head)
	return nil
}

// TestEndpointTables checks that the tables in protocol.md list every endpoint of openapi.yaml, and every status of
// renewals and leaves over HTTP.
func TestEndpointTables(t *testing.T) {
	page := readFile(t, "docs/build/protocol.md")
	endpoints, statuses := make(map[string][]string), make(map[string][]string)
	for _, o := range operations() {
		endpoints[o.tag()] = append(endpoints[o.tag()], o.String())
		statuses[o.spec["operationId"].(string)] = names(o.spec["responses"].(object))
	}
	for _, c := range []struct {
		section string
		head    []string
		want    []string
	}{
		{"Classic token endpoints", []string{"request", "answer"}, endpoints["classic"]},
		{"For operators and back ends", []string{"request", "what it does"}, endpoints["operators"]},
		{"Renewal over HTTP", []string{"status", "code", "meaning"}, statuses["renewSession"]},
		{"Leave over HTTP", []string{"status", "code", "meaning"}, statuses["leaveSession"]},
	} {
		if diff := cmp.Diff(c.want, names(tableOf(t, section(page, c.section), c.head...))); diff != "" {
			t.Errorf("%s: openapi.yaml (-), protocol.md (+):\n%s", c.section, diff)
		}
	}
}

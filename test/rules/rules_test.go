package rules

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each alert has, for each of its severities and windows, a test in which it fires and a test
// in which it does not.
func TestEachAlertIsTested(t *testing.T) {
	t.Parallel()
	fires, silent := make(map[string]bool), make(map[string]bool)
	for _, path := range suites(t) {
		var s suite
		decode(t, path, &s)
		for _, one := range s.Tests {
			for _, a := range one.Alerts {
				if len(a.Want) == 0 {
					silent[a.Name] = true
				}
				for _, want := range a.Want {
					labels, _ := want.(map[string]any)["exp_labels"].(map[string]any)
					window, _ := labels["window"].(string)
					fires[a.Name+window] = true
				}
			}
		}
	}
	for _, r := range allRules(t) {
		if r.Alert == "" {
			continue
		}
		if !fires[r.Alert+r.Labels["window"]] {
			t.Errorf("%s %s: no test in which it fires", r.Alert, r.Labels["window"])
		}
		if !silent[r.Alert] {
			t.Errorf("%s: no test in which it stays silent", r.Alert)
		}
	}
}

var heading = regexp.MustCompile(`(?m)^#{2,6} (.+)$`)

// parts are the paragraphs that each section of the runbook must have, in this order.
var parts = []string{"**What it means.** ", "**What callers notice.** ", "**What to look at.** ", "**What to do.** "}

// sections returns the sections of the runbook, by their anchors.
func sections(t *testing.T) map[string]string {
	t.Helper()
	page := read(t, root+"/docs/operate/runbook.md")
	found := make(map[string]string)
	at := heading.FindAllStringSubmatchIndex(page, -1)
	for i, m := range at {
		end := len(page)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
				return r
			}
			return -1
		}, strings.ToLower(page[m[2]:m[3]]))
		found[anchor] = page[m[1]:end]
	}
	return found
}

// runbook is the placeholder for the runbook's address, the same in the rules and the
// dashboard, so that an operator replaces it with one command or one value.
const runbook = "https://docs.example.com/refresher/runbook.md"

func TestEachAlertHasItsRunbook(t *testing.T) {
	t.Parallel()
	known := sections(t)
	for _, r := range allRules(t) {
		if r.Alert == "" {
			continue
		}
		severity := r.Labels["severity"]
		if !slices.Contains([]string{"page", "ticket", "info"}, severity) {
			t.Errorf("%s: severity %q", r.Alert, severity)
		}
		for _, name := range []string{"summary", "description"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s: no %s", r.Alert, name)
			}
		}
		anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], runbook+"#")
		if !ok || anchor != strings.ToLower(r.Alert) {
			t.Errorf("%s: runbook_url %q; want %s#%s", r.Alert, r.Annotations["runbook_url"], runbook, strings.ToLower(r.Alert))
		}
		section, found := known[anchor]
		if !found {
			t.Errorf("%s: docs/operate/runbook.md has no section of that name", r.Alert)
			continue
		}
		if first, _, _ := strings.Cut(strings.TrimSpace(section), "\n"); strings.ToLower(first) != severity+"." {
			t.Errorf("%s: its section begins with %q; want its severity, %s", r.Alert, first, severity)
		}
		for _, p := range parts {
			before, after, ok := strings.Cut(section, p)
			if !ok || strings.TrimSpace(after) == "" {
				t.Errorf("%s: its section has no %q, or not in its place", r.Alert, p)
				break
			}
			section = strings.TrimPrefix(section, before)
		}
	}
}

// Each section of the runbook must belong to an alert.
func TestEachSectionHasItsAlert(t *testing.T) {
	t.Parallel()
	alerts := make(map[string]bool)
	for _, r := range allRules(t) {
		alerts[strings.ToLower(r.Alert)] = true
	}
	for anchor := range sections(t) {
		if strings.HasPrefix(anchor, "refresher") && !alerts[anchor] {
			t.Errorf("docs/operate/runbook.md#%s: there is no such alert", anchor)
		}
	}
}

var (
	// constants matches strings, and time spans in brackets.
	constants = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\[[^]]*\]`)
	selector  = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})?`)
	matcher   = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)`)
	grouping  = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
)

// ofOthers are the metrics that the service does not define itself.
var ofOthers = []string{"up", "process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_start_time_seconds", "go_gc_gomemlimit_bytes"}

func TestMetricsAndLabelsExist(t *testing.T) {
	t.Parallel()
	metrics := documented(t)
	rules := allRules(t)
	target := []string{"job", "instance"}
	every := slices.Clone(target)
	for _, labels := range metrics {
		every = append(every, labels...)
	}
	recorded := make(map[string]bool)
	for _, r := range rules {
		recorded[r.Record] = true
	}
	seen := 0
	for _, r := range rules {
		expr := constants.ReplaceAllString(r.Expr, "")
		for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.FieldsFuncSeq(g[1], func(c rune) bool { return c == ',' || c == ' ' }) {
				if !slices.Contains(every, label) {
					t.Errorf("%s%s: no metric has the label %s", r.Record, r.Alert, label)
				}
			}
		}
		for _, m := range selector.FindAllStringSubmatch(grouping.ReplaceAllString(expr, ""), -1) {
			name := m[1]
			labels, ours := metrics[name]
			switch {
			case strings.Contains(name, ":"):
				if !recorded[name] {
					t.Errorf("%s%s: %s is not recorded", r.Record, r.Alert, name)
				}
				labels = every
			case strings.HasPrefix(name, "refresher_") && !ours:
				t.Errorf("%s%s: docs/operate/metrics.md has no %s", r.Record, r.Alert, name)
			case !ours && !slices.Contains(ofOthers, name): // a function, a keyword or a part of a number
				if m[2] != "" {
					t.Errorf("%s%s: nobody has the metric %s", r.Record, r.Alert, name)
				}
				continue
			}
			seen++
			for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(labels, l[1]) && !slices.Contains(target, l[1]) {
					t.Errorf("%s%s: %s has no label %s", r.Record, r.Alert, name, l[1])
				}
			}
		}
	}
	if seen < len(rules) {
		t.Errorf("found %d metrics in %d rules", seen, len(rules))
	}
}

package rules

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each alert has a test in which it fires, one for each time window that it has a rule for, and a test in which it
// does not fire.
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

// parts are patterns of the paragraphs that each section of the runbook must have, in this order.
var parts = []string{`\*\*What it means\.\*\* `, `\*\*What callers notice\.\*\* `, `\*\*What to look at\.\*\* `, `\*\*What to do\.\*\* `}

func sections(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for part := range strings.SplitSeq(read(t, root+"/docs/operate/runbook.md"), "\n##") {
		heading, text, _ := strings.Cut(strings.TrimLeft(part, "# "), "\n")
		found[strings.ToLower(heading)] = text
	}
	return found
}

// runbook stands for the runbook's real address in the rules and the dashboard. An operator replaces it with one
// command or one value.
const runbook = "https://docs.example.com/refresher/runbook.md"

func TestEachAlertHasItsRunbook(t *testing.T) {
	t.Parallel()
	known := sections(t)
	for _, r := range allRules(t) {
		if r.Alert == "" {
			continue
		}
		anchor := strings.ToLower(r.Alert)
		if got, want := r.Annotations["runbook_url"], runbook+"#"+anchor; got != want {
			t.Errorf("%s: runbook_url %q; want %s", r.Alert, got, want)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a summary or a description", r.Alert)
		}
		severity := r.Labels["severity"]
		form := regexp.MustCompile(`(?s)^\s*(?i:` + severity + `)\.\n.*` + strings.Join(parts, `\S.*`) + `\S`)
		if !slices.Contains([]string{"page", "ticket", "info"}, severity) || !form.MatchString(known[anchor]) {
			t.Errorf("%s: want in docs/operate/runbook.md a section with the severity, %q, and %q", r.Alert, severity, parts)
		}
	}
	for anchor := range known {
		if strings.HasPrefix(anchor, "refresher") && !slices.ContainsFunc(allRules(t), func(r rule) bool { return strings.ToLower(r.Alert) == anchor }) {
			t.Errorf("docs/operate/runbook.md#%s: there is no such alert", anchor)
		}
	}
}

// Each metric in the alert rules is one that a node has. The tests that promtool runs show whether the labels in the
// rules are right.
func TestMetricsExist(t *testing.T) {
	t.Parallel()
	metrics := read(t, root+"/docs/operate/metrics.md") // this page's table of metrics is generated from the code
	for _, name := range regexp.MustCompile(`[:\w]*\brefresher_\w+`).FindAllString(read(t, folder+"/refresher.rules.yml"), -1) {
		if strings.Contains(name, ":") {
			continue // Prometheus computes this series by a recording rule, so no node has it
		}
		name = strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count")
		if !strings.Contains(metrics, "`"+name+"`") {
			t.Errorf("docs/operate/metrics.md has no %s", name)
		}
	}
}

package monitoring

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

const dashboardFile = "../../deploy/grafana/dashboards/refresher.json"

// dashboard has the fields of a Grafana dashboard that the tests read.
type dashboard struct {
	UID        string
	Panels     []panel
	Templating struct {
		List []struct {
			Name     string
			Type     string
			Query    any
			AllValue string
		}
	}
	Annotations struct{ List []struct{ Name, Expr string } }
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID        string
		Expr         string
		LegendFormat string
		Instant      bool
	}
	FieldConfig struct {
		Defaults struct {
			Unit    string
			NoValue string
		}
		Overrides []struct {
			Matcher    struct{ Options string }
			Properties []struct {
				ID    string
				Value any
			}
		}
	}
	Links []struct{ Title, URL string }
}

// unit returns the unit of a query's values.
func (p *panel) unit(query string) string {
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.Options == query && o.Properties[0].ID == "unit" {
			unit, _ := o.Properties[0].Value.(string)
			return unit
		}
	}
	return p.FieldConfig.Defaults.Unit
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// anchors returns the anchors that a browser gives to the headings of a page.
func anchors(t *testing.T, path string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}

func TestLayout(t *testing.T) {
	d := readDashboard(t)
	known := anchors(t, "../../docs/operate/runbook.md")
	ids, titles := make(map[int]bool), make(map[string]bool)
	page, err := os.ReadFile("../../docs/operate/dashboard.md")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(map[[2]int]string)
	for _, p := range d.Panels {
		if ids[p.ID] || titles[p.Title] {
			t.Errorf("%q: another panel has this id or title", p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		if !strings.Contains(string(page), "\n"+p.Title+"  ") && !strings.Contains(string(page), "== "+p.Title) {
			t.Errorf("docs/operate/dashboard.md does not show %q", p.Title)
		}
		g := p.GridPos
		if g.W <= 0 || g.H <= 0 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%q is off the grid: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%q lies on %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%q lacks a description, a unit or a query", p.Title)
		}
		if len(p.Links) != 1 {
			t.Errorf("%q has %d links", p.Title, len(p.Links))
			continue
		}
		target, anchor, _ := strings.Cut(p.Links[0].URL, "#")
		if target != "${runbook}" || !known[anchor] {
			t.Errorf("%q leads to %s, and docs/operate/runbook.md has no such heading", p.Title, p.Links[0].URL)
		}
		for _, target := range p.Targets {
			narrowed := `job=~"$job",instance=~"$node"`
			if strings.Contains(target.Expr, "job:") { // recorded by service, without nodes
				narrowed = `{job=~"$job"}`
			}
			if !strings.Contains(target.Expr, narrowed) {
				t.Errorf("%q is not narrowed to what was chosen: %s", p.Title, target.Expr)
			}
			// A rate must not have the unit of a number of things.
			if unit := p.unit(target.RefID); (unit == "ops" || unit == "reqps") && !strings.Contains(target.Expr, "rate(") {
				t.Errorf("%q shows as a rate what is none: %s", p.Title, target.Expr)
			}
		}
	}
	for i, p := range d.Panels[:6] {
		if p.Type != "stat" || p.GridPos.Y != 0 {
			t.Errorf("panel %d of the first row is a %s", i+1, p.Type)
		}
	}
}

// The first row is green if nothing is wrong. A panel without data says why it has none. Expired tokens count only for
// clients that were connected, not for closed tabs.
func TestFirstRowIsCalm(t *testing.T) {
	for _, p := range readDashboard(t).Panels[:6] {
		expr := p.Targets[0].Expr
		conditional := strings.Contains(expr, "histogram_quantile") || strings.Contains(expr, "refresher_store_up")
		if conditional && p.FieldConfig.Defaults.NoValue == "" {
			t.Errorf("%q does not say why there may be no data", p.Title)
		}
		if strings.Contains(expr, `outcome="expired"`) {
			t.Errorf("%q counts closed tabs", p.Title)
		}
	}
}

// One command replaces the runbook's address in the rules and in the dashboard.
func TestRunbookAddress(t *testing.T) {
	const address = "https://docs.example.com/refresher/runbook.md"
	found := false
	for _, v := range readDashboard(t).Templating.List {
		found = found || v.Name == "runbook" && v.Query == address
	}
	rules, err := os.ReadFile("../../deploy/prometheus/refresher.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	if !found || !strings.Contains(string(rules), "runbook_url: '"+address+"#") {
		t.Errorf("the dashboard or the rules do not have %s", address)
	}
}

package monitoring

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

type dashboard struct {
	Panels      []panel
	Annotations struct{ List []struct{ Name, Expr string } }
}

type panel struct {
	Type        string
	Title       string
	Description string
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

func (p *panel) unit(query string) string {
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.Options == query && o.Properties[0].ID == "unit" {
			unit, _ := o.Properties[0].Value.(string)
			return unit
		}
	}
	return p.FieldConfig.Defaults.Unit
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "../../deploy/grafana/dashboards/refresher.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestPanels checks that docs/operate/dashboard.md shows each panel, that the panel leads to a heading of the runbook,
// and that its queries are narrowed to the chosen nodes.
func TestPanels(t *testing.T) {
	page, runbook := read(t, "../../docs/operate/dashboard.md"), strings.ToLower(read(t, "../../docs/operate/runbook.md"))
	for _, p := range readDashboard(t).Panels {
		if !strings.Contains(page, "\n"+p.Title+"  ") && !strings.Contains(page, "== "+p.Title) {
			t.Errorf("docs/operate/dashboard.md does not show %q", p.Title)
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || len(p.Links) != 1 {
			t.Fatalf("%q lacks a description, a unit, a query or a link", p.Title)
		}
		anchor, found := strings.CutPrefix(p.Links[0].URL, "${runbook}#")
		if heading := strings.ReplaceAll(anchor, "-", "[ -]"); !found || !regexp.MustCompile(`(?m)^#+ `+heading+`\W*$`).MatchString(runbook) {
			t.Errorf("%q leads to %s, and docs/operate/runbook.md has no such heading", p.Title, p.Links[0].URL)
		}
		for _, target := range p.Targets {
			narrowed := `job=~"$job",instance=~"$node"`
			if strings.Contains(target.Expr, "job:") { // a recording rule computes this series for each service, so it cannot be narrowed to nodes
				narrowed = `{job=~"$job"}`
			}
			if !strings.Contains(target.Expr, narrowed) {
				t.Errorf("%q is not narrowed to what was chosen: %s", p.Title, target.Expr)
			}
			// Only a rate may have the unit of a rate.
			if unit := p.unit(target.RefID); (unit == "ops" || unit == "reqps") && !strings.Contains(target.Expr, "rate(") {
				t.Errorf("%q has the unit of a rate, and no rate: %s", p.Title, target.Expr)
			}
		}
	}
}

// The first row of panels is green if nothing is wrong. A panel that may have no data says why. Expired tokens count
// only for clients that were connected, not for closed tabs.
func TestFirstRowIsCalm(t *testing.T) {
	for _, p := range readDashboard(t).Panels[:6] {
		expr := p.Targets[0].Expr
		conditional := strings.Contains(expr, "histogram_quantile") || strings.Contains(expr, "refresher_store_up")
		if conditional && p.FieldConfig.Defaults.NoValue == "" || strings.Contains(expr, `outcome="expired"`) || p.Type != "stat" {
			t.Errorf("%q does not say why there may be no data, or counts closed tabs, or is a %s", p.Title, p.Type)
		}
	}
}

package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	root   = "../.."
	folder = root + "/deploy/prometheus"
)

// rule is a rule in Prometheus's format.
type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// suite is a file of tests for promtool.
type suite struct {
	Tests []struct {
		Name   string `yaml:"name"`
		Alerts []struct {
			Name string `yaml:"alertname"`
			Want []any  `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// allRules returns the rules of the file, in its order.
func allRules(t *testing.T) (rules []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	decode(t, folder+"/refresher.rules.yml", &file)
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	if len(rules) == 0 {
		t.Fatal("there are no rules")
	}
	return rules
}

func suites(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(folder + "/tests/*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("tests of the rules: found %d, %v", len(paths), err)
	}
	return paths
}

var row = regexp.MustCompile("(?m)^\\| `(refresher_[a-z0-9_]+)` \\| (\\w+) \\| ([^|]*) \\|")

// documented returns the metrics of docs/operate/metrics.md with their labels.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	metrics := make(map[string][]string)
	for _, m := range row.FindAllStringSubmatch(read(t, root+"/docs/operate/metrics.md"), -1) {
		name, kind := m[1], m[2]
		labels := strings.FieldsFunc(m[3], func(r rune) bool { return strings.ContainsRune("`, ", r) })
		metrics[name] = labels
		if kind == "histogram" {
			metrics[name+"_count"], metrics[name+"_sum"] = labels, labels
			metrics[name+"_bucket"] = append(slices.Clip(labels), "le")
		}
	}
	if len(metrics) == 0 {
		t.Fatal("docs/operate/metrics.md has no table of metrics")
	}
	return metrics
}

package docs

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test -run ^(TestMetricsPage|TestCloseCodesAreGenerated)$ . -update

var update = flag.Bool("update", false, "write what is generated from the code into docs")

const metricsPage = "../../docs/operate/metrics.md"

// metric is one that the code registers.
type metric struct {
	name, kind, help string
	labels           []string
}

// TestMetricsPage holds the table of docs/operate/metrics.md against the code. It is
// written by go generate.
func TestMetricsPage(t *testing.T) {
	generated(t, metricsPage, "<!-- begin: go generate ./test/docs -->\n", "<!-- end -->", metricsTable(metricsOf(t, "../../internal")))
}

// generated holds what a file has between two marks, which are there once, against
// content. Empty marks stand for the whole file. With -update it writes the content.
func generated(t *testing.T, path, begin, end, content string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := content
	if begin != "" {
		before, rest, ok := strings.Cut(string(text), begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("%s has no place between %q and %q", path, begin, end)
		}
		want = before + begin + content + end + after
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("go generate ./test/docs would change %s (-after +now):\n%s", path, diff)
	}
}

func metricsTable(all []metric) string {
	var b strings.Builder
	b.WriteString("\n| metric | type | labels | |\n|---|---|---|---|\n")
	for _, m := range all {
		labels := ""
		for i, l := range m.labels {
			if i > 0 {
				labels += ", "
			}
			labels += "`" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
	}
	b.WriteString("\n")
	return b.String()
}

// TestMetricsAreAsDocumented holds the table against what a node shows.
func TestMetricsAreAsDocumented(t *testing.T) {
	t.Parallel()
	documented := make(map[string]metric)
	for _, m := range metricsOf(t, "../../internal") {
		documented[m.name] = m
	}
	n := startNode(t, "")
	text := string(n.request(t, "GET", n.operations()+"/metrics", "").body)
	seen := 0
	for name, kind := range kindsIn(text) {
		if !strings.HasPrefix(name, "refresher_") {
			continue
		}
		seen++
		m, ok := documented[name]
		if !ok || m.kind != kind {
			t.Errorf("%s is a %s; documented %q", name, kind, m.kind)
		}
		for _, labels := range labelsIn(text, name) {
			if diff := cmp.Diff(slices.Sorted(slices.Values(m.labels)), labels); diff != "" {
				t.Errorf("%s has other labels (-documented +shown):\n%s", name, diff)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d metrics", seen)
	}
}

// kindsIn are the types of the metrics in an exposition, by name.
func kindsIn(text string) map[string]string {
	found := make(map[string]string)
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		found[m[1]] = m[2]
	}
	return found
}

// labelsIn are the names of the labels that samples of a metric have, sorted;
// those of a histogram's buckets left out.
func labelsIn(text, name string) [][]string {
	var found [][]string
	sample := regexp.MustCompile(`(?m)^` + name + `(?:_count)?(?:\{(.*)\})? \S+$`)
	label := regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
	for _, m := range sample.FindAllStringSubmatch(text, -1) {
		var names []string
		for _, l := range label.FindAllStringSubmatch(m[1], -1) {
			names = append(names, l[1])
		}
		slices.Sort(names)
		found = append(found, names)
	}
	return found
}

// metricsOf reads from the source which metrics there are: every call of
// client_golang that names one.
func metricsOf(t *testing.T, root string) []metric {
	t.Helper()
	var all []metric
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if m, ok := metricIn(call); ok {
					all = append(all, m)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return all
}

// metricIn is the metric that a call makes.
func metricIn(call *ast.CallExpr) (metric, bool) {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return metric{}, false
	}
	if f.Sel.Name == "NewDesc" && isPrometheus(f.X) {
		m := metric{name: text(call.Args[0]), help: text(call.Args[1]), labels: texts(call.Args[2]), kind: "gauge"}
		switch { // of those that are read at each scrape
		case strings.HasSuffix(m.name, "_total"):
			m.kind = "counter"
		case m.name == "refresher_schedule_due_seconds":
			m.kind = "histogram"
		}
		return m, true
	}
	kind := regexp.MustCompile(`^New(Counter|Gauge|Histogram)(Vec|Func)?$`).FindStringSubmatch(f.Sel.Name)
	if kind == nil {
		return metric{}, false
	}
	m := metric{kind: strings.ToLower(kind[1])}
	ast.Inspect(call.Args[0], func(n ast.Node) bool {
		if pair, ok := n.(*ast.KeyValueExpr); ok {
			switch key, _ := pair.Key.(*ast.Ident); {
			case key == nil:
			case key.Name == "Name":
				m.name = text(pair.Value)
			case key.Name == "Help":
				m.help = text(pair.Value)
			case key.Name == "ConstLabels":
				if labels, ok := pair.Value.(*ast.CompositeLit); ok {
					for _, l := range labels.Elts {
						if l, ok := l.(*ast.KeyValueExpr); ok {
							m.labels = append(m.labels, text(l.Key))
						}
					}
				}
			}
		}
		return true
	})
	if kind[2] == "Vec" && len(call.Args) > 1 {
		m.labels = append(m.labels, texts(call.Args[1])...)
	}
	return m, m.name != ""
}

func isPrometheus(x ast.Expr) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == "prometheus"
}

// text is the value of a string literal, or of several that are added.
func text(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(x.Value)
		return s
	case *ast.BinaryExpr:
		return text(x.X) + text(x.Y)
	}
	return ""
}

// texts are the values of a literal []string.
func texts(x ast.Expr) []string {
	list, ok := x.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	var all []string
	for _, e := range list.Elts {
		all = append(all, text(e))
	}
	return all
}

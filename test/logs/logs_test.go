package logs

import (
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

const root = "../.."

// folders have the service's source. The service does not log the messages of the folders in `apart`.
var (
	folders = []string{"internal", "cmd/refresher", "web/demo"}
	apart   = []string{"web/demo/edge", "internal/store/storetest"}
)

// line is a message with its level, and the keys of the call that logs it, sorted and joined. The keys are "?" if the
// source computes them.
type line struct{ message, level, keys string }

// source has the messages in the service's files, and the keys and components that With adds to loggers.
type source struct {
	lines               []line
	carried, components []string
}

func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{}
	for _, folder := range folders {
		err := fs.WalkDir(os.DirFS(root), folder, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case slices.Contains(apart, path) || d.Name() == "node_modules":
				return fs.SkipDir
			case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
			if err == nil {
				ast.Inspect(file, s.read)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *source) read(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return true
	}
	name, texts := method.Sel.Name, literals(call.Args)
	switch {
	case name == "With" && texts[0] != "?":
		s.carried = append(s.carried, texts[0])
		if texts[0] == "component" {
			s.components = append(s.components, texts[1])
		}
	case isLogger(method.X) && slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, name) && texts[0] != "?":
		s.lines = append(s.lines, line{texts[0], strings.ToLower(name), keys(call, texts[1:])})
	case name == "log" && len(texts) > 2 && texts[2] != "?":
		level, _ := call.Args[1].(*ast.SelectorExpr)
		s.lines = append(s.lines, line{texts[2], strings.ToLower(strings.TrimPrefix(level.Sel.Name, "Level")), keys(call, texts[3:])})
	}
	return true
}

// literals returns the value of each string literal, and "?" for any other expression. It appends one more "?", so that
// the result is never empty.
func literals(args []ast.Expr) (texts []string) {
	for _, arg := range args {
		text := "?"
		if literal, ok := arg.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, _ = strconv.Unquote(literal.Value)
		}
		texts = append(texts, text)
	}
	return append(texts, "?")
}

func keys(call *ast.CallExpr, texts []string) string {
	if call.Ellipsis.IsValid() {
		return "?"
	}
	var found []string
	for i := 0; i+1 < len(texts); i += 2 {
		found = append(found, texts[i])
	}
	slices.Sort(found)
	return strings.Join(found, ", ")
}

// isLogger recognises a logger by its variable's name.
func isLogger(x ast.Expr) bool {
	if selector, ok := x.(*ast.SelectorExpr); ok {
		x = selector.Sel
	}
	name, ok := x.(*ast.Ident)
	return ok && slices.Contains([]string{"l", "log", "logger", "Logger"}, name.Name)
}

// table reads the rows of the table in docs/operate/logs.md whose first column has the given title.
func table(t *testing.T, title string) (rows [][]string) {
	t.Helper()
	page, err := os.ReadFile(root + "/docs/operate/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\n| "+title+" |")
	text, _, _ = strings.Cut(text, "\n\n")
	if !found {
		t.Fatalf("docs/operate/logs.md has no table whose first column is %q", title)
	}
	for row := range strings.Lines(text) {
		if strings.HasPrefix(row, "| `") {
			cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	return rows
}

func codes(cell string) (words []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		words = append(words, m[1])
	}
	slices.Sort(words)
	return words
}

func TestEachMessageIsDocumented(t *testing.T) {
	s := readSource(t)
	documented := make(map[string]bool)
	for _, row := range table(t, "message") {
		if len(row) != 5 || row[4] == "" {
			t.Fatalf("%q: want message, level, component, keys and meaning", row)
		}
		have := line{strings.Join(codes(row[0]), ""), row[1], strings.Join(codes(row[3]), ", ")}
		documented[have.message] = true
		if !slices.ContainsFunc(s.lines, func(l line) bool {
			return l.message == have.message && l.level == have.level && (l.keys == "?" || l.keys == have.keys)
		}) {
			t.Errorf("the source does not log %+v", have)
		}
		if component := strings.Trim(row[2], "`"); component != "" && !slices.Contains(s.components, component) {
			t.Errorf("%s: there is no component %s", row[0], component)
		}
	}
	for _, l := range s.lines {
		if !documented[l.message] {
			t.Errorf("docs/operate/logs.md does not have %+v", l)
		}
	}
}

func TestEachKeyIsDocumented(t *testing.T) {
	s := readSource(t)
	want := slices.Clone(s.carried)
	for _, row := range table(t, "message") {
		want = append(want, codes(row[3])...)
	}
	var have []string
	for _, row := range table(t, "key") {
		have = append(have, codes(row[0])...)
	}
	slices.Sort(want)
	slices.Sort(have)
	if diff := cmp.Diff(slices.Compact(want), have); diff != "" {
		t.Errorf("messages have (-), the table of keys has (+):\n%s", diff)
	}
}

package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// hop is one step of a call path in docs/understand/architecture.md: a function, and the file that declares it.
type hop struct {
	number   string
	file     string // path from the root of the repository
	receiver string // the method's receiver type; empty for a function
	function string
	detached bool // another goroutine calls the function, not the hop before it
}

// hopLine matches a hop, written as `1. [Type.Function](../../path/file.go)`. "⇢" after the link means that another
// goroutine calls the function.
var hopLine = regexp.MustCompile("^(\\d+)\\. \\[`(?:(\\w+)\\.)?(\\w+)`\\]\\((?:\\.\\./)+([^)]+\\.go)\\)( ⇢)?")

// maxHops is the largest number of hops in a list.
const maxHops = 12

// TestArchitecture compares the call paths of docs/understand/architecture.md with the code: each function must be
// declared in the linked file, and must call the next one.
func TestArchitecture(t *testing.T) {
	walks := readWalks(t)
	if len(walks) < 2 {
		t.Fatalf("docs/understand/architecture.md has %d walks; want one of a renewal and one of a join", len(walks))
	}
	for title, walk := range walks {
		t.Run(title, func(t *testing.T) {
			if len(walk) > maxHops {
				t.Errorf("it has %d hops; want at most %d", len(walk), maxHops)
			}
			var before *ast.FuncDecl
			for _, h := range walk {
				function := h.find(t)
				if function == nil {
					t.Errorf("hop %s: there is no %s.%s in %s", h.number, h.receiver, h.function, h.file)
				} else if before != nil && !h.detached && !mentions(before, h.function) {
					t.Errorf("hop %s: %s does not call %s", h.number, before.Name.Name, h.function)
				}
				before = function
			}
		})
	}
}

// readWalks returns the numbered lists of the document by their headings.
func readWalks(t *testing.T) map[string][]hop {
	t.Helper()
	text, err := os.ReadFile("../../docs/understand/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	walks := make(map[string][]hop)
	var title string
	for line := range strings.Lines(string(text)) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			title = strings.TrimSpace(heading)
		} else if m := hopLine.FindStringSubmatch(line); m != nil {
			walks[title] = append(walks[title], hop{m[1], m[4], m[2], m[3], m[5] != ""})
		} else if regexp.MustCompile(`^\d+\. `).MatchString(line) {
			t.Errorf("%s: want a hop as in the others: %s", title, line)
		}
	}
	return walks
}

// find returns the declaration of the hop's function, or nil.
func (h *hop) find(t *testing.T) *ast.FuncDecl {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", h.file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Name.Name == h.function && receiverOf(f) == h.receiver {
			return f
		}
	}
	return nil
}

// receiverOf returns the type that a method belongs to; empty for a function.
func receiverOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	if name, ok := of.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// mentions reports whether the body of a function contains the name of another function, to call that function or to
// pass it on.
func mentions(f *ast.FuncDecl, name string) (found bool) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == name {
			found = true
		}
		return !found
	})
	return found
}

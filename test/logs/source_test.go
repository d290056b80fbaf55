package logs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// folders contain the service's source. The stand-in for Agora's edge and the test suites of
// stores are excluded, since the service does not log their messages.
var folders = []string{"internal", "cmd/refresher", "web/demo"}

var apart = []string{"web/demo/edge", "internal/store/storetest"}

// levels are the names of slog's logging methods, and of its level constants without "Level".
var levels = []string{"Debug", "Info", "Warn", "Error"}

// line is a message in the source, with the keys that its call passes.
type line struct {
	level, message string
	keys           []string
	at             string
}

// source collects the messages in the service's files.
type source struct {
	lines      []line
	carried    []string // keys that With added to a logger
	components []string
	problems   []string // calls that this test could not parse
}

// file is the file that is being read.
type file struct {
	*source
	set  *token.FileSet
	same []*ast.File // files of the package
}

func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if slices.Contains(apart, filepath.ToSlash(name)) || d.Name() == "testdata" || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return s.readPackage(path)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(s.carried)
	s.carried = slices.Compact(s.carried)
	return s
}

// readPackage reads the files of one folder, without its tests.
func (s *source) readPackage(folder string) error {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	f := &file{source: s, set: token.NewFileSet()}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(f.set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f.same = append(f.same, parsed)
	}
	for _, one := range f.same {
		for _, d := range one.Decls {
			ast.Inspect(d, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					f.read(call, d)
				}
				return true
			})
		}
	}
	return nil
}

// read records a call if it logs or adds keys to a logger. The parameter `within` is the declaration that contains the
// call.
func (f *file) read(call *ast.CallExpr, within ast.Decl) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	switch name := method.Sel.Name; {
	case name == "With":
		f.with(call)
	case slices.Contains(levels, name) && len(call.Args) > 0 && isLogger(method.X):
		f.add(call, strings.ToLower(name), call.Args[0], call.Args[1:], within)
	case name == "log" && len(call.Args) > 2 && levelOf(call.Args[1]) != "":
		f.add(call, levelOf(call.Args[1]), call.Args[2], call.Args[3:], within)
	}
}

// isLogger recognises a logger by the names that loggers have in this repository.
func isLogger(x ast.Expr) bool {
	name := ""
	switch x := x.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	}
	return slices.Contains([]string{"l", "log", "logger", "Logger"}, name)
}

// levelOf reads slog.LevelInfo and other level constants. It returns "" for any other
// expression.
func levelOf(x ast.Expr) string {
	s, ok := x.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	level, found := strings.CutPrefix(s.Sel.Name, "Level")
	if !found {
		return ""
	}
	return strings.ToLower(level)
}

// with records the keys that With adds to a logger.
func (f *file) with(call *ast.CallExpr) {
	for i := 0; i < len(call.Args); i += 2 {
		key, ok := text(call.Args[i])
		if !ok {
			continue // this With is not a logger's, whose arguments are keys and values
		}
		f.carried = append(f.carried, key)
		if value, ok := text(call.Args[min(i+1, len(call.Args)-1)]); ok && key == "component" {
			f.components = append(f.components, value)
		}
	}
}

// add records one line for each text that the message can have.
func (f *file) add(call *ast.CallExpr, level string, message ast.Expr, args []ast.Expr, within ast.Decl) {
	at := f.set.Position(call.Pos()).String()
	keys, ok := f.keys(call, args, within)
	messages := []string{}
	if one, constant := text(message); constant {
		messages = append(messages, one)
	} else if name, parameter := message.(*ast.Ident); parameter {
		messages = f.given(name.Name, within)
	}
	if !ok || len(messages) == 0 {
		f.problems = append(f.problems, at+": neither the message nor the keys may be computed")
	}
	for _, m := range messages {
		f.lines = append(f.lines, line{level, m, keys, at})
	}
}

// keys returns the keys that a logging call passes: as arguments, or as elements of a slice.
func (f *file) keys(call *ast.CallExpr, args []ast.Expr, within ast.Decl) (keys []string, ok bool) {
	if call.Ellipsis.IsValid() {
		name, named := args[len(args)-1].(*ast.Ident)
		if !named {
			return nil, false
		}
		args = collected(name.Name, within)
	}
	for i := 0; i < len(args); i += 2 {
		key, constant := text(args[i])
		if !constant {
			return nil, false
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys, true
}

// collected returns the elements of a slice: those of its literal, and those appended to it.
func collected(slice string, within ast.Decl) (args []ast.Expr) {
	ast.Inspect(within, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != 1 {
			return true
		}
		if name, ok := assign.Lhs[0].(*ast.Ident); !ok || name.Name != slice {
			return true
		}
		switch from := assign.Rhs[0].(type) {
		case *ast.CompositeLit:
			args = append(args, from.Elts...)
		case *ast.CallExpr: // append
			args = append(args, from.Args[1:]...)
		}
		return true
	})
	return args
}

// given finds the constants that callers pass for a parameter of a function.
func (f *file) given(parameter string, within ast.Decl) (values []string) {
	function, ok := within.(*ast.FuncDecl)
	if !ok {
		return nil
	}
	at := -1
	i := 0
	for _, field := range function.Type.Params.List {
		for _, name := range field.Names {
			if name.Name == parameter {
				at = i
			}
			i++
		}
	}
	for _, one := range f.same {
		ast.Inspect(one, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || at < 0 || len(call.Args) <= at {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || method.Sel.Name != function.Name.Name {
				return true
			}
			if value, constant := text(call.Args[at]); constant {
				values = append(values, value)
			}
			return true
		})
	}
	return values
}

// text reads a string constant.
func text(x ast.Expr) (string, bool) {
	literal, ok := x.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(literal.Value)
	return s, err == nil
}

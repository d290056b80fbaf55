package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
)

// mutant is one change to a file: it replaces the bytes between two offsets.
type mutant struct {
	file       string
	line       int
	source     []byte // content of the file without the change
	start, end int
	put        string
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d: %q becomes %q", m.file, m.line, clip(m.source[m.start:m.end]), m.put)
}

// text returns the content of the file with the change.
func (m *mutant) text() []byte {
	return slices.Concat(m.source[:m.start], []byte(m.put), m.source[m.end:])
}

// clip returns the first line of a text.
func clip(text []byte) string {
	first, _, more := bytes.Cut(text, []byte("\n"))
	if more {
		return string(first) + " …"
	}
	return string(first)
}

// swaps maps each operator to the operators that replace it.
var swaps = map[token.Token][]token.Token{
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL},
	token.INC: {token.DEC}, token.DEC: {token.INC}, token.ADD_ASSIGN: {token.SUB_ASSIGN}, token.SUB_ASSIGN: {token.ADD_ASSIGN},
	token.BREAK: {token.CONTINUE}, token.CONTINUE: {token.BREAK},
}

// logged are the methods of loggers. Their calls are not removed, since few tests read the log.
var logged = []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs"}

// mutantsOf returns all mutants of a file, in the order of its text. Some of them do not compile.
func mutantsOf(file string, source []byte) ([]mutant, error) {
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []mutant
	replace := func(from, to token.Pos, put string) {
		start := set.Position(from)
		found = append(found, mutant{file, start.Line, source, start.Offset, set.Position(to).Offset, put})
	}
	swap := func(at token.Pos, operator token.Token) {
		for _, other := range swaps[operator] {
			replace(at, at+token.Pos(len(operator.String())), other.String())
		}
	}
	negate := func(condition ast.Expr) {
		if condition == nil {
			return
		}
		start, end := set.Position(condition.Pos()).Offset, set.Position(condition.End()).Offset
		replace(condition.Pos(), condition.End(), "!("+string(source[start:end])+")")
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl: // not changed: types have nothing to change, and many constants are units such as time.Second, of which other values test nothing
			return n.Tok == token.VAR
		case *ast.BinaryExpr:
			swap(n.OpPos, n.Op)
		case *ast.IncDecStmt:
			swap(n.TokPos, n.Tok)
		case *ast.BranchStmt:
			swap(n.TokPos, n.Tok)
		case *ast.IfStmt:
			negate(n.Cond)
		case *ast.Ident:
			if n.Name == "true" || n.Name == "false" {
				replace(n.Pos(), n.End(), strconv.FormatBool(n.Name == "false"))
			}
		case *ast.BasicLit:
			if v, err := strconv.ParseInt(n.Value, 0, 64); err == nil && n.Kind == token.INT {
				replace(n.Pos(), n.End(), strconv.FormatInt(v+1, 10))
			}
		case *ast.AssignStmt:
			swap(n.TokPos, n.Tok)
			if n.Tok != token.DEFINE {
				replace(n.Pos(), n.End(), "")
			}
		case *ast.ExprStmt:
			if !isLog(n.X) {
				replace(n.Pos(), n.End(), "")
			}
		}
		return true
	})
	return found, nil
}

// isLog reports whether an expression calls a method of a logger.
func isLog(x ast.Expr) bool {
	call, ok := x.(*ast.CallExpr)
	if !ok {
		return false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	return ok && slices.Contains(logged, method.Sel.Name)
}

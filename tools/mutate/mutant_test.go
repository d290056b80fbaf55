package main

import (
	"go/parser"
	"go/token"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMutants(t *testing.T) {
	const source = `package p

const limit = 3

func f(a, b int) bool {
	if a < b && log.Warn("x") {
		a++
	}
	b = 1
	g(b)
	log.Warn("left alone")
	return true
}
`
	found, err := mutantsOf("p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, m := range found {
		have = append(have, m.String())
		if _, err := parser.ParseFile(token.NewFileSet(), m.file, m.text(), 0); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
	slices.Sort(have)
	want := []string{
		`p.go:10: "g(b)" becomes ""`,
		`p.go:12: "true" becomes "false"`,
		`p.go:6: "&&" becomes "||"`,
		`p.go:6: "<" becomes "<="`,
		`p.go:6: "<" becomes ">="`,
		`p.go:6: "a < b && log.Warn(\"x\")" becomes "!(a < b && log.Warn(\"x\"))"`,
		`p.go:7: "++" becomes "--"`,
		`p.go:9: "1" becomes "2"`,
		`p.go:9: "b = 1" becomes ""`,
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

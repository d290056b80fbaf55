package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var allow = cmp.AllowUnexported(passage{})

func TestGoCommentsHaveTheirDeclaration(t *testing.T) {
	got := goComments(`// Package p does one thing.
package p

//go:noinline

// F returns the sum of both.
func F(a, b int) int {
	// Neither can overflow.
	c := a + b

	return c //nolint:x // a reason of its own
}

type T struct {
	n int // in milliseconds, since start
}
`)
	want := []passage{
		{line: 1, text: "Package p does one thing.", context: "package p"},
		{line: 6, text: "F returns the sum of both.", context: "func F(a, b int) int {"},
		{line: 8, text: "Neither can overflow.", context: "func F(a, b int) int {\n\t…\n\tc := a + b"},
		{line: 15, text: "in milliseconds, since start", context: "type T struct {\n\t…\nn int"},
	}
	if diff := cmp.Diff(want, got, allow); diff != "" {
		t.Error(diff)
	}
}

func TestJSCommentsHaveTheLinesBelow(t *testing.T) {
	got := jsComments(`/**
 * Adds two numbers.
 * @param {number} a
 */
export function add(a, b) {

  // The url "http://x" is
  // not a comment.
  fetch("http://x"); // and this one is
}
`)
	want := []passage{
		{line: 1, text: "Adds two numbers.\n@param {number} a", context: "export function add(a, b) {"},
		{line: 7, text: `The url "http://x" is` + "\nnot a comment.", context: `  fetch("http://x"); // and this one is` + "\n}"},
		{line: 9, text: "and this one is", context: `fetch("http://x");`},
	}
	if diff := cmp.Diff(want, got, allow); diff != "" {
		t.Error(diff)
	}
}

func TestSentencesOfADocument(t *testing.T) {
	got := proseOf("# A heading is no sentence of it\n\nThe first one [links](to.md) to a page. The second\ngoes on in another line.\n" +
		"- Short item.\n- This item of a list is long.\n\n```sh\nthis is code and no sentence at all\n```\n| name | what |\n| a | A cell that holds a whole sentence. |\n")
	want := []passage{
		{line: 3, text: "The first one links to a page.", context: "# A heading is no sentence of it"},
		{line: 3, text: "The second goes on in another line.", context: "# A heading is no sentence of it\nThe first one links to a page."},
		{line: 6, text: "This item of a list is long.", context: "# A heading is no sentence of it"},
		{
			line: 12, text: "A cell that holds a whole sentence.",
			context: "# A heading is no sentence of it\n| name | what |\n| a | A cell that holds a whole sentence. |",
		},
	}
	if diff := cmp.Diff(want, got, allow); diff != "" {
		t.Error(diff)
	}
}

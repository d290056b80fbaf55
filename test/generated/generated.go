// Package generated keeps parts of documents equal to the code from which they follow. A test calls Block with the
// content that follows from the code, and Block fails the test if the document has other content. With the flag
// -update, which go generate sets, Block writes the content into the document instead.
package generated

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what is generated from the code into the documents")

// Block compares content with the lines of a file between two marks: the line that has "begin: NAME, go generate …",
// and the next line that has "end".
func Block(t *testing.T, path, name, content string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	marks := regexp.MustCompile(`(?s)([^\n]* begin: ` + regexp.QuoteMeta(name) + `, go generate [^\n]*\n)(.*?)(\n[^\n]* end( -->)?\n)`)
	at := marks.FindSubmatchIndex(text)
	if at == nil {
		t.Fatalf("%s has no marks for %q", path, name)
	}
	File(t, path, string(text[:at[3]])+content+string(text[at[6]:]))
}

// Table returns a table of Markdown, to be the content of a Block.
func Table(head []string, rows ...[]string) string {
	var b strings.Builder
	b.WriteString("\n")
	row(&b, head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		row(&b, r)
	}
	return b.String()
}

func row(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// File compares content with a whole file.
func File(t *testing.T, path, content string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil { //nolint:gosec // G703: the test that calls this names the file
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(content, string(text)); diff != "" {
		t.Errorf("go generate ./... would change %s (-after +now):\n%s", path, diff)
	}
}

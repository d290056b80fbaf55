package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestQuotedMessagesExist: a message that a page quotes for its readers to look for is a message of the code. Values in
// it, such as numbers and names of settings, may differ.
func TestQuotedMessagesExist(t *testing.T) {
	t.Parallel()
	texts := textsOfTheCode(t)
	// Symptoms are in the first cells of tables, and at the beginning of items.
	symptom := regexp.MustCompile("(?m)^(?:\\| |- )(.*`.*?)(?: \\| |:(?: |$))")
	code := regexp.MustCompile("`[^`]+`")
	words := regexp.MustCompile(`\b[a-z'-]+(?: [a-z'-]+)+\b`)
	putTogether := regexp.MustCompile(`\b(want|have) `) // the decoder's errors consist of these words and of descriptions of values
	for _, page := range []string{"start/troubleshooting.md", "operate/runbook.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		quotes := 0
		for _, m := range symptom.FindAllStringSubmatch(string(text), -1) {
			for _, quoted := range code.FindAllString(m[1], -1) {
				if strings.HasPrefix(quoted, "`refresher ") || strings.HasPrefix(quoted, "`curl ") || strings.HasPrefix(quoted, "`systemctl ") {
					continue // a command
				}
				for _, run := range words.FindAllString(putTogether.ReplaceAllString(quoted, ", "), -1) {
					quotes++
					if !strings.Contains(texts, run) {
						t.Errorf("%s quotes %s; no text of the code has %q", page, quoted, run)
					}
				}
			}
		}
		if quotes < 10 {
			t.Errorf("%s: only %d quotes were found", page, quotes)
		}
	}
}

// textsOfTheCode returns the string literals of all Go files but tests, and the browser library's files, as one text.
func textsOfTheCode(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "ls-files", "cmd", "internal", "client", "web/client").Output()
	if err != nil {
		t.Fatal(err)
	}
	var texts strings.Builder
	texts.WriteString(syscall.EADDRINUSE.Error() + "\n" + syscall.ECONNREFUSED.Error() + "\n")
	for file := range strings.FieldsSeq(string(out)) {
		source, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(file, ".js"):
			texts.Write(source)
		case strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go"):
			parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					text, _ := strconv.Unquote(literal.Value) // this cannot fail, since the file was parsed
					texts.WriteString(text + "\n")
				}
				return true
			})
		}
	}
	return texts.String()
}

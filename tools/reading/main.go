// Command reading draws comments of the code and sentences of the documents at random, for
// a reader who has not seen the code and marks what was not clear at the first reading. One
// seed draws the same passages from the same commit.
package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// passage is a comment or a sentence.
type passage struct {
	file    string
	line    int
	text    string
	context string // a comment's declaration, or the heading and sentence before a sentence
}

func main() {
	seed := flag.Uint64("seed", 1, "draws the same passages again")
	comments := flag.Int("comments", 50, "number of comments of Go and JavaScript files")
	sentences := flag.Int("sentences", 30, "number of sentences of Markdown files")
	root := flag.String("C", ".", "checkout to read")
	flag.Parse()
	if err := run(*root, *seed, *comments, *sentences); err != nil {
		fmt.Fprintln(os.Stderr, "reading:", err)
		os.Exit(1)
	}
}

func run(root string, seed uint64, comments, sentences int) error {
	command := exec.CommandContext(context.Background(), "git", "ls-files")
	command.Dir = root
	list, err := command.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	var code, prose []passage
	for file := range strings.FieldsSeq(string(list)) {
		read := readers[filepath.Ext(file)]
		if read == nil || excluded(file) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return err
		}
		found := read(string(text))
		for i := range found {
			found[i].file = file
		}
		if filepath.Ext(file) == ".md" {
			prose = append(prose, found...)
		} else {
			code = append(code, found...)
		}
	}
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // G404: a sample that anyone can draw again, not a secret
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Reading check, seed %d: %d of %d comments, %d of %d sentences\n",
		seed, min(comments, len(code)), len(code), min(sentences, len(prose)), len(prose))
	write(&out, "Comments", draw(random, code, comments))
	write(&out, "Sentences", draw(random, prose, sentences))
	_, err = os.Stdout.Write(out.Bytes())
	return err
}

// readers find the passages of a file, by the extension of its name.
var readers = map[string]func(text string) []passage{".go": goComments, ".js": jsComments, ".mjs": jsComments, ".md": proseOf}

// excluded reports whether another project or a tool has written the file.
func excluded(file string) bool {
	return strings.Contains(file, "testdata/") || strings.Contains(file, "node_modules/")
}

// draw picks n passages and sorts them by file and line.
func draw(random *rand.Rand, all []passage, n int) []passage {
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	drawn := all[:min(n, len(all))]
	slices.SortFunc(drawn, func(a, b passage) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	return drawn
}

func write(out *bytes.Buffer, title string, drawn []passage) {
	fmt.Fprintf(out, "\n## %s\n", title)
	for i, p := range drawn {
		fmt.Fprintf(out, "\n%d. %s:%d\n   %s\n", i+1, p.file, p.line, strings.ReplaceAll(p.text, "\n", "\n   "))
		for line := range strings.Lines(p.context) {
			fmt.Fprintf(out, "       %s\n", strings.TrimRight(line, "\n"))
		}
	}
}

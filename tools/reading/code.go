package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
)

// maxContext is how many lines of code stand below a comment, at most.
const maxContext = 8

// goComments returns the comments of a Go file with the declaration to which each comment belongs. It leaves out
// directives such as go:embed.
func goComments(text string) (found []passage) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil || ast.IsGenerated(file) {
		return nil
	}
	lines := strings.Split(text, "\n")
	lineOf := func(p token.Pos) int { return files.Position(p).Line }
	for _, group := range file.Comments {
		said := strings.TrimSpace(group.Text())
		first, last := lineOf(group.Pos()), lineOf(group.End())
		if !worthReading(said) {
			continue
		}
		context := signature(lines, last) // the context of a doc comment is the lines below it
		if before, _, _ := strings.Cut(lines[first-1], "//"); strings.TrimSpace(before) != "" {
			said, context = strings.TrimSpace(said), strings.TrimSpace(before)
		}
		if f := enclosing(file, group); f != nil {
			context = lines[lineOf(f.Pos())-1] + "\n\t…\n" + context
		}
		found = append(found, passage{line: first, text: said, context: context})
	}
	return found
}

// enclosing returns the function or the type declaration that has the comment inside it, or
// nil.
func enclosing(file *ast.File, comment *ast.CommentGroup) ast.Node {
	for _, d := range file.Decls {
		f, function := d.(*ast.FuncDecl)
		if function && f.Body != nil && f.Body.Lbrace < comment.Pos() && comment.Pos() < f.Body.Rbrace {
			return f
		}
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE && g.Pos() < comment.Pos() && comment.Pos() < g.End() {
			return g
		}
	}
	return nil
}

// signature returns the lines after the line with the number `line`, up to the first one that opens a function's body
// or is blank: a function's signature, a type's fields, a few statements.
func signature(lines []string, line int) string {
	end := line
	for end < len(lines) && end < line+maxContext && strings.TrimSpace(lines[end]) != "" {
		end++
		if strings.HasPrefix(lines[end-1], "func ") {
			break
		}
	}
	return strings.Join(lines[min(line, end):end], "\n")
}

// worthReading is false for directives and for comments of one or two words.
func worthReading(said string) bool {
	return len(strings.Fields(said)) > 2 && !strings.HasPrefix(said, "nolint") && !strings.HasPrefix(said, "Code generated")
}

var (
	jsLine     = regexp.MustCompile(`^\s*//\s?(.*)$`)
	jsTrailing = regexp.MustCompile(`^(.*[;,{}()\]])\s+// (.+)$`)
	jsNoise    = regexp.MustCompile(`^\s*(/\*\*?|\*/?)\s?|\s*\*/\s*$`)
)

// jsComments returns the comments of a JavaScript file, and the lines that follow each.
func jsComments(text string) (found []passage) {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		first := i
		var said []string
		context := ""
		switch trailing := jsTrailing.FindStringSubmatch(lines[i]); {
		case strings.HasPrefix(strings.TrimSpace(lines[i]), "/*"):
			for ; i < len(lines); i++ {
				said = append(said, jsNoise.ReplaceAllString(jsNoise.ReplaceAllString(lines[i], ""), ""))
				if strings.Contains(lines[i], "*/") {
					break
				}
			}
		case jsLine.MatchString(lines[i]):
			for ; i < len(lines) && jsLine.MatchString(lines[i]); i++ {
				said = append(said, jsLine.FindStringSubmatch(lines[i])[1])
			}
			i--
		case trailing != nil:
			said, context = []string{trailing[2]}, strings.TrimSpace(trailing[1])
		default:
			continue
		}
		all := strings.TrimSpace(strings.Join(said, "\n"))
		if !worthReading(all) || strings.HasPrefix(all, "@") || strings.HasPrefix(all, "eslint") {
			continue
		}
		if context == "" {
			context = signature(lines, min(i+1, len(lines)))
		}
		found = append(found, passage{line: first + 1, text: all, context: context})
	}
	return found
}

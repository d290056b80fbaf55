package main

import (
	"regexp"
	"slices"
	"strings"
)

var (
	word     = regexp.MustCompile(`^["(*]*[A-Za-z][a-z'’-]*[,.;:!?")*]*$`)
	listMark = regexp.MustCompile(`^\s*(?:[-*]|\d+\.)\s+|^>\s*`)
	image    = regexp.MustCompile(`!\[[^\]]*\]\([^)]*\)`)
	link     = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	label    = regexp.MustCompile("^[a-z]|^`[^`]*`$")
	// A sentence ends at a mark that is followed by a space and then by a capital letter, a quote or a code span.
	sentenceEnd = regexp.MustCompile("([.!?][\"”)*]*)\\s+([A-Z\"“`(*])")
)

// minWords is the least number of words of a sentence. It excludes labels, and table cells
// with numbers and code.
const minWords = 6

// proseOf returns the sentences of a Markdown file, each with its context: the heading, and the previous sentence of
// the paragraph or the row of the table.
func proseOf(text string) (found []passage) {
	var paragraph []string
	heading, head, start, code := "", "", 0, false
	flush := func() {
		before := heading
		for _, s := range sentences(strings.Join(paragraph, " ")) {
			found = append(found, passage{line: start, text: s, context: before})
			before = heading + "\n" + s
		}
		paragraph = nil
	}
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		fence := strings.HasPrefix(trimmed, "```")
		if fence {
			code = !code
		}
		switch {
		case fence, code, trimmed == "", strings.HasPrefix(trimmed, "<"):
			flush()
			head = ""
		case strings.HasPrefix(trimmed, "#"):
			flush()
			heading = trimmed
		case strings.HasPrefix(trimmed, "|"):
			flush()
			if head == "" {
				head = trimmed
			}
			found = append(found, cells(trimmed, i+1, heading+"\n"+head)...)
		default:
			if listMark.MatchString(line) {
				flush()
				line = listMark.ReplaceAllString(line, "")
			}
			if paragraph == nil {
				start = i + 1
			}
			paragraph = append(paragraph, strings.TrimSpace(line))
		}
	}
	flush()
	return found
}

// cells returns the sentences in a row of a table.
func cells(row string, line int, before string) (found []passage) {
	for cell := range strings.SplitSeq(strings.Trim(row, "|"), " | ") {
		for _, s := range sentences(strings.TrimSpace(cell)) {
			found = append(found, passage{line: line, text: s, context: before + "\n" + row})
		}
	}
	return found
}

// sentences splits a paragraph, and drops the parts that are too short to be a sentence, that begin in lower case, as
// labels in tables do, or that are a code span.
func sentences(paragraph string) (all []string) {
	paragraph = link.ReplaceAllString(image.ReplaceAllString(paragraph, ""), "$1")
	for s := range strings.SplitSeq(sentenceEnd.ReplaceAllString(paragraph, "$1\n$2"), "\n") {
		words := slices.DeleteFunc(strings.Fields(s), func(w string) bool { return !word.MatchString(w) })
		if len(words) >= minWords && !label.MatchString(s) {
			all = append(all, s)
		}
	}
	return all
}

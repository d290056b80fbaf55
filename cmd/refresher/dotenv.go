package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A .env file has lines of the form NAME=value. Docker's --env-file and systemd's EnvironmentFile read such
// files differently. A line to which they would give different values is refused, with two exceptions: quotes
// and spaces around a value are removed, as systemd and shells do. A $VARIABLE is not expanded, since
// passwords may contain a dollar sign.
//
// Libraries for .env files are not used, because they expand variables or end a value at any #.
// docs/operate/deploy.md has the rules for users.

const maxEnvFile = 1 << 20

type variable struct{ name, value string }

// readEnvFile reads a .env file. A missing file is not an error. Errors name the line and the variable, and
// do not contain the value.
func readEnvFile(path string) ([]variable, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder; want a file with lines NAME=value, or none", path)
	case info.Size() > maxEnvFile:
		return nil, fmt.Errorf("%s: want at most %d bytes", path, maxEnvFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	variables, err := parseEnv(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return variables, nil
}

func parseEnv(text []byte) (variables []variable, err error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("is in UTF-16; save it as UTF-8")
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // Windows editors write a byte order mark
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0 {
			return nil, fmt.Errorf("line %d: want text in UTF-8", number)
		}
		trimmed := strings.Trim(string(line), " \t\r\n")
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		v, err := parseVariable(trimmed)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		variables = append(variables, v)
	}
	return variables, nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// parseVariable parses one line whose surrounding spaces were removed.
func parseVariable(line string) (variable, error) {
	name, value, found := strings.Cut(strings.TrimPrefix(line, "export "), "=")
	if !found || !variableName.MatchString(name) {
		return variable{}, errors.New("want NAME=value, without spaces before the =")
	}
	value, err := parseValue(strings.TrimLeft(value, " \t"))
	if err != nil {
		return variable{}, fmt.Errorf("%s: %w", name, err)
	}
	return variable{name, value}, nil
}

// parseValue parses the text after the =, whose surrounding spaces were removed.
func parseValue(text string) (string, error) {
	quote, inside := "", text
	if text != "" && strings.Contains(`"'`, text[:1]) {
		quote, inside = text[:1], text[1:]
	}
	inside, closed := strings.CutSuffix(inside, quote)
	// plain is the text without its escaped characters. A quote that is left in it is therefore not escaped.
	plain := escaped.ReplaceAllLiteralString(inside, "")
	switch {
	case quote == "" && spaceHash.MatchString(text):
		return "", errors.New("has a # after a space; put a comment on a line of its own, or a value with # in quotes")
	case quote == "" && strings.Contains(text, `\`):
		return "", errors.New(`has a \; put the value in single quotes`)
	case !closed, quote == `"` && strings.HasSuffix(plain, `\`):
		return "", errors.New("begins with a quote and does not end with it")
	case quote == "'" && strings.Contains(inside, "'"):
		return "", errors.New("has a single quote within single quotes; use double quotes")
	case quote == `"` && strings.Contains(plain, `"`):
		return "", errors.New(`has a double quote within double quotes; write \" for it`)
	case quote == `"`:
		return escaped.ReplaceAllString(inside, "$1"), nil
	}
	return inside, nil
}

var (
	spaceHash = regexp.MustCompile(`[ \t]#`)
	// escaped matches a backslash and a character that it makes literal within double quotes, as in a shell. Before any
	// other character, the backslash itself is literal.
	escaped = regexp.MustCompile("\\\\([\"\\\\`$])")
)

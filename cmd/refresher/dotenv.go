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

// A .env file has lines of the form NAME=value. A value is what Docker's --env-file and
// systemd's EnvironmentFile both take it for. Where they differ, the line is refused, but
// for two things: quotes around a value are no part of it, as for systemd and shells, and
// so are spaces around it. No $VARIABLE is replaced: passwords have dollar signs.
//
// Libraries for such files replace variables, or end a value at any #. docs/operate/deploy.md has
// the rules for users.

// maxEnvFile bounds a .env file, in bytes.
const maxEnvFile = 1 << 20

// variable is one of the environment.
type variable struct{ name, value string }

// readEnvFile reads a .env file. It is no error if there is none. Errors name the line and
// the variable, and quote no value.
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
		return nil, fmt.Errorf("%s: want %d bytes at most", path, maxEnvFile)
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

// parseEnv reads the text of a .env file.
func parseEnv(text []byte) (variables []variable, err error) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, errors.New("is in UTF-16; save it as UTF-8")
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark, as Windows writes
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

// parseVariable reads one line, without the spaces around it.
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

// parseValue reads what stands behind the =, without the spaces around it.
func parseValue(text string) (string, error) {
	quote, inside := "", text
	if text != "" && strings.Contains(`"'`, text[:1]) {
		quote, inside = text[:1], text[1:]
	}
	inside, closed := strings.CutSuffix(inside, quote)
	// What is left of the text without its escaped characters.
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
	// escaped is a character that a \ makes a literal of in double quotes, as in a shell.
	// Before any other, a \ stands for itself.
	escaped = regexp.MustCompile("\\\\([\"\\\\`$])")
)

package main

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// sources knows where each setting comes from, a flag, a variable or .env, so that errors and warnings can name the
// setting as the user wrote it.
type sources struct {
	root    *kong.Node
	args    []string
	envFile []string // names of the variables that were set from .env
}

// namedError gives an error a text in which settings have the names that the user wrote.
type namedError struct {
	error

	text string
}

func (e *namedError) Error() string { return e.text }
func (e *namedError) Unwrap() error { return e.error }

// An error about settings begins with "--flag: …" or "--flag and --other are …"; errors of other packages begin with
// "flag: …" or "flag, other: …".
var (
	dashedNames = regexp.MustCompile(`^--[a-z0-9-]+(?:(?: and |, )--[a-z0-9-]+)*`)
	plainNames  = regexp.MustCompile(`^([a-z0-9-]+(?:, [a-z0-9-]+)*): `)
	oneName     = regexp.MustCompile(`(--)?[a-z0-9-]{2,}`)
	// kongVariable matches the part of a kong error that names a variable. This part also contains the variable's
	// value, which may be secret.
	kongVariable = regexp.MustCompile(`(?s) \(from envar [A-Z0-9_]+=".*"\)$`)
)

// named returns the error err with another text: the settings at its beginning have the names that the user wrote.
func (s *sources) named(err error) error {
	if err == nil {
		return nil
	}
	text := kongVariable.ReplaceAllString(err.Error(), "")
	names := dashedNames.FindString(text)
	if plain := plainNames.FindStringSubmatch(text); plain != nil {
		names = plain[1]
	}
	written, rest := names, text[len(names):]
	flags := s.flags()
	var only *kong.Flag
	for i, name := range oneName.FindAllString(strings.ReplaceAll(names, " and ", ", "), -1) {
		flag := flags[strings.TrimPrefix(name, "--")]
		if flag == nil {
			return &namedError{err, text}
		}
		written = strings.Replace(written, name, s.name(flag), 1)
		if only = flag; i > 0 {
			only = nil
		}
	}
	return &namedError{err, written + rest + have(only, rest)}
}

// have returns the text "; have VALUE" for an error about one setting, unless the error already has it. Only numbers
// and durations are shown, since other values may be secrets.
func have(f *kong.Flag, text string) string {
	if f == nil || !f.Set || strings.Contains(text, "have ") {
		return ""
	}
	switch f.Target.Kind() {
	case reflect.Int, reflect.Int64, reflect.Float64:
		return fmt.Sprintf("; have %v", f.Target.Interface())
	default:
		return ""
	}
}

// name returns how the user wrote a setting: "--flag", "VARIABLE" or "VARIABLE in .env". If the setting was
// not set, it returns "--flag (or VARIABLE)".
func (s *sources) name(f *kong.Flag) string {
	dashed := "--" + f.Name
	for _, arg := range s.args {
		if arg == dashed || strings.HasPrefix(arg, dashed+"=") {
			return dashed
		}
	}
	for _, variable := range f.Envs {
		if os.Getenv(variable) == "" {
			continue
		}
		if slices.Contains(s.envFile, variable) {
			return variable + " in .env"
		}
		return variable
	}
	if len(f.Envs) > 0 {
		return dashed + " (or " + f.Envs[0] + ")"
	}
	return dashed
}

// flags returns the flags of the command in the arguments, and of its parent commands.
func (s *sources) flags() map[string]*kong.Flag {
	flags := make(map[string]*kong.Flag)
	node := s.root
	for _, arg := range append([]string{""}, s.args...) {
		if i := slices.IndexFunc(node.Children, func(c *kong.Node) bool { return c.Name == arg }); i >= 0 {
			node = node.Children[i]
		} else if arg != "" {
			break
		}
		for _, f := range node.Flags {
			flags[f.Name] = f
		}
	}
	return flags
}

// serviceLink matches the variables that Kubernetes and Docker set for other services whose name begins with
// "refresher".
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?|NAME|ENV_.*)$`)

// unknown returns the variables whose name begins like a setting but that no command has. The list `meant` has the most
// similar names of settings.
func (s *sources) unknown(environ []string) (variables, meant []string) {
	known := variablesOf(s.root)
	for _, setting := range environ {
		name, _, _ := strings.Cut(setting, "=")
		if !strings.HasPrefix(name, "REFRESHER_") || strings.HasPrefix(name, "REFRESHER_TEST_") ||
			slices.Contains(known, name) || serviceLink.MatchString(name) {
			continue
		}
		variables = append(variables, name)
		if closest := closest(name, known); closest != "" {
			meant = append(meant, closest)
		}
	}
	slices.Sort(variables)
	slices.Sort(meant)
	return variables, meant
}

// warnUnknown logs the names of variables that no setting has. It omits their values, which may be secrets.
func (s *sources) warnUnknown(log *slog.Logger) {
	if variables, meant := s.unknown(os.Environ()); len(variables) > 0 {
		log.Warn("unknown REFRESHER_ environment variables; see refresher serve --help", "variables", variables, "meant", meant)
	}
}

// variablesOf returns the variables of the settings of a command and its subcommands.
func variablesOf(command *kong.Node) (names []string) {
	for _, f := range command.Flags {
		names = append(names, f.Envs...)
	}
	for _, c := range command.Children {
		names = append(names, variablesOf(c)...)
	}
	return names
}

// closest returns the name that is most similar to the text. It returns an empty text if every name differs in more
// than a fifth of the letters.
func closest(text string, names []string) string {
	best, least := "", len(text)/5+1
	for _, name := range names {
		if d := distance(text, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two ASCII words, ignoring case.
func distance(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

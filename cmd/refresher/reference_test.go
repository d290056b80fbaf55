package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"refresher/test/generated"
)

//go:generate go test -run ^TestReferenceIsGenerated$ . -update

const reference = "../../docs/build/reference.md"

// TestReferenceIsGenerated holds docs/build/reference.md against the definitions of the
// commands and flags.
func TestReferenceIsGenerated(t *testing.T) {
	parser := kong.Must(&cli{}, kong.Name("refresher"))
	generated.Block(t, reference, "settings", settingTables(t, parser))
	generated.Block(t, reference, "commands", commandTable(parser))
}

// groups is the order of the groups of flags on the page.
var groups = []string{
	"Agora project", "Credentials", "Ports", "Tokens and renewals", "Sessions", "Redis", "Approval", "Events", "Limits", "Logs",
}

// settingTables has a section for each group of the flags of serve.
func settingTables(t *testing.T, parser *kong.Kong) string {
	t.Helper()
	rows := make(map[string][][]string)
	for _, f := range flagsOf(parser, "serve") {
		if f.Group == nil || !slices.Contains(groups, f.Group.Title) {
			t.Errorf("--%s has no group among %q", f.Name, groups)
			continue
		}
		rows[f.Group.Title] = append(rows[f.Group.Title], []string{"`--" + f.Name + "`", codes(f.Envs), defaultOf(f), f.Help})
	}
	var b strings.Builder
	for _, g := range groups {
		b.WriteString("\n## " + g + "\n" + generated.Table([]string{"flag", "environment", "default", "meaning"}, rows[g]...))
	}
	return b.String()
}

func flagsOf(parser *kong.Kong, command string) (flags []*kong.Flag) {
	for _, c := range parser.Model.Children {
		if c.Name == command {
			flags = c.Flags
		}
	}
	return flags
}

func codes(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

// defaultOf is empty where the help says what happens without the flag.
func defaultOf(f *kong.Flag) string {
	switch {
	case f.HasDefault:
		return "`" + f.Default + "`"
	case f.IsBool():
		return "off"
	}
	return ""
}

func commandTable(parser *kong.Kong) string {
	var rows [][]string
	for _, c := range parser.Model.Leaves(true) {
		rows = append(rows, []string{"`" + c.FullPath() + "`", c.Help})
	}
	return generated.Table([]string{"command", "what it does"}, rows...)
}

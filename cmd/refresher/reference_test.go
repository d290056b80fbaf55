package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"refresher/test/generated"
)

//go:generate go test -run ^TestReferenceIsGenerated$ . -update

const reference = "../../docs/build/reference.md"

// TestReferenceIsGenerated checks that docs/build/reference.md agrees with the definitions of the commands
// and flags.
func TestReferenceIsGenerated(t *testing.T) {
	parser := kong.Must(&cli{}, kong.Name("refresher"))
	generated.Block(t, reference, "settings", settingTables(t, parser))
	generated.Block(t, reference, "commands", commandTable(parser))
	generated.Block(t, "../../docs/build/protocol.md", "settings", clientSettings(parser))
}

// clientSettings returns a table of the settings whose effect a client can see.
func clientSettings(parser *kong.Kong) string {
	var rows [][]string
	for _, name := range []string{
		"auth", "token-ttl", "min-ttl", "max-ttl", "renew-before", "ack-timeout", "heartbeat", "resume-window", "max-session",
		"authorize-grace", "subject-rate", "address-rate", "certificate-spread", "drain-window",
	} {
		for _, f := range flagsOf(parser, "serve") {
			if f.Name == name {
				rows = append(rows, []string{"`--" + name + "`", defaultOf(f), f.Help})
			}
		}
	}
	return generated.Table([]string{"setting", "default", "meaning"}, rows...)
}

// TestProjectFieldsAreDocumented checks that the documentation describes each field of the projects file.
func TestProjectFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/build/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| field | meaning |")
	for _, field := range projectFields {
		if !strings.Contains(table, "`"+field+"`") {
			t.Errorf("credentials.md does not describe %s", field)
		}
	}
}

// groups are the groups of flags, in the order of docs/build/reference.md.
var groups = []string{
	"Agora project", "Credentials", "Ports", "Tokens and renewals", "Sessions", "Redis", "Approval", "Events", "Limits", "Logs",
}

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

// defaultOf returns a flag's default. It is empty if the help text says what happens without the flag.
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

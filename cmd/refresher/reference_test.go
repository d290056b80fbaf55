package main

import (
	"os"
	"reflect"
	"regexp"
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

// clientSettings describes the settings whose effect a client can see.
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

// TestProjectFieldsAreDocumented checks that the documented table of the projects file agrees with the fields
// that the command reads.
func TestProjectFieldsAreDocumented(t *testing.T) {
	var fields []string
	for _, of := range []reflect.Type{reflect.TypeFor[credentials](), reflect.TypeFor[keySettings]()} {
		for f := range of.Fields() {
			if name := f.Tag.Get("yaml"); name != "" {
				fields = append(fields, name)
			}
		}
	}
	text, err := os.ReadFile("../../docs/build/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| field | meaning |")
	var listed []string
	for _, row := range regexp.MustCompile(`(?m)^\| (`+"`"+`.*?) \|`).FindAllStringSubmatch(table, -1) {
		for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			listed = append(listed, name[1])
		}
	}
	slices.Sort(fields)
	slices.Sort(listed)
	if !slices.Equal(fields, listed) {
		t.Errorf("the command reads %q; credentials.md has %q", fields, listed)
	}
}

// groups is the order in which the page lists the groups of flags.
var groups = []string{
	"Agora project", "Credentials", "Ports", "Tokens and renewals", "Sessions", "Redis", "Approval", "Events", "Limits", "Logs",
}

// settingTables returns a table for each group of flags of `serve`.
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

// defaultOf returns a flag's default for the table. It is empty if the help text describes what happens
// without the flag.
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

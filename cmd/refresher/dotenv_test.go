package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEnvFile compares refresher with docker --env-file (28.2) and systemd's EnvironmentFile (252), whose values were
// recorded. The value `none` means that the tool refuses the line, or ignores it with a warning.
func TestEnvFile(t *testing.T) {
	const none = "\x00"
	for _, c := range []struct {
		text            string
		docker, systemd string
		want            string // value of A; empty if the line is refused
		refusal         string
	}{
		// Docker, systemd and refresher read these lines the same way.
		{"A=plain", "plain", "plain", "plain", ""},
		{"A=", "", "", "", ""},
		{"A=p$27K", "p$27K", "p$27K", "p$27K", ""},
		{"A=${HOME}$(id)`id`", "${HOME}$(id)`id`", "${HOME}$(id)`id`", "${HOME}$(id)`id`", ""},
		{"A=a#b", "a#b", "a#b", "a#b", ""},
		{`A=b"c"`, `b"c"`, `b"c"`, `b"c"`, ""},
		{"A=two words", "two words", "two words", "two words", ""},
		{"A=b\r\nB=c\r\n", "b", "b", "b", ""},
		{"# B=b\n  # c\n\nA=d", "d", "d", "d", ""},
		{"  A=b", "b", "b", "b", ""},
		{"A=1\nA=2", "2", "2", "2", ""},
		// Docker keeps quotes and spaces around a value; systemd and refresher remove them.
		{`A="in quotes"`, `"in quotes"`, "in quotes", "in quotes", ""},
		{"A='in quotes'", "'in quotes'", "in quotes", "in quotes", ""},
		{`A="p\$27K"`, `"p\$27K"`, "p$27K", "p$27K", ""},
		{`A="a\nb"`, `"a\nb"`, `a\nb`, `a\nb`, ""},
		{`A='a\b'`, `'a\b'`, `a\b`, `a\b`, ""},
		{`A="say \"it's\""`, `"say \"it's\""`, `say "it's"`, `say "it's"`, ""},
		{`A="a # b"`, `"a # b"`, "a # b", "a # b", ""},
		{"A= b \t", " b \t", "b", "b", ""},
		// Docker or systemd refuses these lines. They have only one possible meaning, so refresher accepts them.
		{"\ufeffA=b", "b", none, "b", ""},
		{"export A=b", none, none, "b", ""},
		// Refresher refuses these lines, since Docker, systemd and other tools read them differently or refuse them too.
		{"A=a #b", "a #b", "a #b", "", "line 1: A: has a # after a space"},
		{`A="b" # c`, `"b" # c`, "b# c", "", "line 1: A: begins with a quote and does not end with it"},
		{`A=a\b`, `a\b`, "ab", "", `line 1: A: has a \`},
		{`A="b`, `"b`, "b", "", "line 1: A: begins with a quote and does not end with it"},
		{`A="`, `"`, "", "", "line 1: A: begins with a quote and does not end with it"},
		{`A="b\"`, `"b\"`, `b"`, "", "line 1: A: begins with a quote and does not end with it"},
		{`A="b"c"`, `"b"c"`, `bc"`, "", "line 1: A: has a double quote within double quotes"},
		{"A='b'c'", "'b'c'", "bc'", "", "line 1: A: has a single quote within single quotes"},
		{"\n\nA =b", none, "b", "", "line 3: want NAME=value"},
		{"A: b", none, none, "", "line 1: want NAME=value"},
		{"=b", none, none, "", "line 1: want NAME=value"},
		{"export  A=b", none, none, "", "line 1: want NAME=value"},
		{"B=c\nA=\xff", none, none, "", "line 2: want text in UTF-8"},
		{"A=b\x00c", "b\x00c", none, "", "line 1: want text in UTF-8"},
		{"\xff\xfeA\x00=\x00b\x00", none, none, "", "is in UTF-16; save it as UTF-8"},
		{"\xfe\xff\x00A\x00=\x00b", none, none, "", "is in UTF-16; save it as UTF-8"},
	} {
		variables, err := parseEnv([]byte(c.text))
		if c.refusal != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.refusal) {
				t.Errorf("%q: %q, %v; want %q", c.text, variables, err, c.refusal)
			}
			continue
		}
		value, found := "", false
		for _, v := range variables {
			if v.name == "A" {
				value, found = v.value, true
			}
		}
		if err != nil || !found || value != c.want {
			t.Errorf("%q: %q, %v; want %q", c.text, variables, err, c.want)
		}
		// A value must be the one that Docker or systemd reads, so that a file means the same when it is moved between
		// that tool and refresher.
		unquoted := strings.Trim(c.docker, " \t\"'")
		if c.want != c.docker && c.want != c.systemd && c.want != unquoted && c.docker != none {
			t.Errorf("%q: %q, and neither Docker's %q nor systemd's %q", c.text, c.want, c.docker, c.systemd)
		}
	}
}

// FuzzEnvFile writes each accepted value in single quotes, which must not change it.
func FuzzEnvFile(f *testing.F) {
	for _, text := range []string{"A=b", `A="p\$27K"`, "export A='b c'\r\n#\n", "\ufeffA=b", "A=a #b", `A="`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		variables, err := parseEnv(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, v := range variables {
			if strings.ContainsAny(v.value, "'\r\n") {
				return
			}
			again.WriteString(v.name + "='" + v.value + "'\n")
		}
		have, err := parseEnv([]byte(again.String()))
		if err != nil || !slices.Equal(variables, have) {
			t.Errorf("%q: %q, and written out %q, %v", text, variables, have, err)
		}
	})
}

func TestEnvFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir: "is a folder; want a file with lines NAME=value, or none",
		write(t, dir, "large", "A="+strings.Repeat("x", maxEnvFile)): "want at most 1048576 bytes",
		write(t, dir, "wrong", "B"):                                  "wrong: line 1: want NAME=value",
	} {
		if v, err := readEnvFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %q", path, v, err, want)
		}
	}
	if v, err := readEnvFile(filepath.Join(dir, "missing")); v != nil || err != nil {
		t.Errorf("none: %q, %v", v, err)
	}
}

// A bad .env file makes a command fail only if the file could have settings for it. The command health goes on with a
// warning, since a failed probe would restart a healthy service.
func TestWhoNeedsTheEnvFile(t *testing.T) {
	const refused = "refresher: .env: line 1: want NAME=value, without spaces before the =\n"
	for line, want := range map[string]string{
		"version":                         "",
		"--help":                          "",
		"serve --help":                    "",
		"serve --log-format=text":         refused,
		"sessions list":                   refused,
		"health --ops-listen=127.0.0.1:1": strings.TrimSuffix(refused, "\n") + "; going on without it\nrefresher: error: the service does not answer",
	} {
		c := command(t, nil, line)
		write(t, c.Dir, ".env", "hush-hush")
		stdout, stderr, code := finish(t, c)
		if (code == 0) != (want == "") || !strings.HasPrefix(stderr, want) {
			t.Errorf("%s: exit %d, %s%s", line, code, stdout, stderr)
		}
		demandNoSecret(t, stderr)
	}
}

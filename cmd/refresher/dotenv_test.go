package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"refresher/test/program"
)

// TestEnvFile compares each line's value with the recorded values of docker --env-file (28.2) and systemd's
// EnvironmentFile (252). `none` means that the tool refuses the line, or ignores it with a warning.
func TestEnvFile(t *testing.T) {
	const none = "\x00"
	for _, c := range []struct {
		text            string
		docker, systemd string
		want            string // value of A; empty if the line is refused
		refusal         string
	}{
		// Lines that Docker, systemd and refresher read the same way.
		{"A=plain", "plain", "plain", "plain", ""},
		{"A=", "", "", "", ""},
		{"A=p$27K", "p$27K", "p$27K", "p$27K", ""},
		{"A=${HOME}$(id)`id`", "${HOME}$(id)`id`", "${HOME}$(id)`id`", "${HOME}$(id)`id`", ""},
		{"A=a#b", "a#b", "a#b", "a#b", ""},
		{"A=a=b==", "a=b==", "a=b==", "a=b==", ""},
		{`A=b"c"`, `b"c"`, `b"c"`, `b"c"`, ""},
		{"A=it's", "it's", "it's", "it's", ""},
		{"A=two words", "two words", "two words", "two words", ""},
		{"A=b\r\nB=c\r\n", "b", "b", "b", ""},
		{"# B=b\n  # c\n\nA=d", "d", "d", "d", ""},
		{"  A=b", "b", "b", "b", ""},
		{"A=1\nA=2", "2", "2", "2", ""},
		{"A=b;c", "b;c", "b;c", "b;c", ""},
		// Docker keeps quotes and spaces around a value; systemd and refresher remove them.
		{`A="in quotes"`, `"in quotes"`, "in quotes", "in quotes", ""},
		{"A='in quotes'", "'in quotes'", "in quotes", "in quotes", ""},
		{`A="p$27K"`, `"p$27K"`, "p$27K", "p$27K", ""},
		{"A='p$27K'", "'p$27K'", "p$27K", "p$27K", ""},
		{`A="p\$27K"`, `"p\$27K"`, "p$27K", "p$27K", ""},
		{`A="a\nb"`, `"a\nb"`, `a\nb`, `a\nb`, ""},
		{`A='a\b'`, `'a\b'`, `a\b`, `a\b`, ""},
		{`A="say \"it's\""`, `"say \"it's\""`, `say "it's"`, `say "it's"`, ""},
		{`A="a # b"`, `"a # b"`, "a # b", "a # b", ""},
		{"A= b \t", " b \t", "b", "b", ""},
		// Lines that only one of the tools accepts, and that have one possible meaning.
		{"\ufeffA=b", "b", none, "b", ""},
		{"export A=b", none, none, "b", ""},
		// Docker and systemd read these lines differently, or one of the two drops a part of the line.
		{"A=a #b", "a #b", "a #b", "", "line 1: A: has a # after a space"},
		{"A=a\t#b", "a\t#b", "a\t#b", "", "line 1: A: has a # after a space"},
		{`A="b" # c`, `"b" # c`, "b# c", "", "line 1: A: begins with a quote and does not end with it"},
		{`A=a\b`, `a\b`, "ab", "", `line 1: A: has a \`},
		{`A="b`, `"b`, "b", "", "line 1: A: begins with a quote and does not end with it"},
		{`A="`, `"`, "", "", "line 1: A: begins with a quote and does not end with it"},
		{`A="b\"`, `"b\"`, `b"`, "", "line 1: A: begins with a quote and does not end with it"},
		{`A="b"c"`, `"b"c"`, `bc"`, "", "line 1: A: has a double quote within double quotes"},
		{"A='b'c'", "'b'c'", "bc'", "", "line 1: A: has a single quote within single quotes"},
		{"\n\nA =b", none, "b", "", "line 3: want NAME=value"},
		{"A", none, none, "", "line 1: want NAME=value"},
		{"A: b", none, none, "", "line 1: want NAME=value"},
		{"=b", none, none, "", "line 1: want NAME=value"},
		{"; A=b", none, none, "", "line 1: want NAME=value"},
		{"export  A=b", none, none, "", "line 1: want NAME=value"},
		{"B=c\nA=\xff", none, none, "", "line 2: want text in UTF-8"},
		{"A=b\x00c", "b\x00c", none, "", "line 1: want text in UTF-8"},
		{utf16Text("A=b", '\xff', '\xfe'), none, none, "", "is in UTF-16; save it as UTF-8"},
		{utf16Text("A=b", '\xfe', '\xff'), none, none, "", "is in UTF-16; save it as UTF-8"},
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
		// A value equals the one that Docker or systemd reads, so that a file can be moved between the tools.
		unquoted := strings.Trim(c.docker, " \t\"'")
		if c.want != c.docker && c.want != c.systemd && c.want != unquoted && c.docker != none {
			t.Errorf("%q: %q, and neither Docker's %q nor systemd's %q", c.text, c.want, c.docker, c.systemd)
		}
	}
}

// utf16Text encodes a text in UTF-16 with a byte order mark.
func utf16Text(text string, mark ...rune) string {
	var b strings.Builder
	for _, r := range mark {
		b.WriteByte(byte(r))
	}
	for _, unit := range utf16.Encode([]rune(text)) {
		high, low := byte(unit>>8), byte(unit)
		if mark[0] == '\xff' {
			high, low = low, high
		}
		b.Write([]byte{high, low})
	}
	return b.String()
}

// An accepted value stays the same when it is written in single quotes.
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
				return // a text that cannot be written in single quotes
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
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte("A="+strings.Repeat("x", maxEnvFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:   "is a folder; want a file with lines NAME=value, or none",
		large: "want 1048576 bytes at most",
	} {
		if v, err := readEnvFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %q", path, v, err, want)
		}
	}
	if v, err := readEnvFile(filepath.Join(dir, "missing")); v != nil || err != nil {
		t.Errorf("none: %q, %v", v, err)
	}
}

// A command fails because of a bad .env file only if it has settings that could be in the file.
func TestWhoNeedsTheEnvFile(t *testing.T) {
	for _, c := range []struct {
		args []string
		ok   bool
	}{
		{[]string{"version"}, true},
		{[]string{"--help"}, true},
		{[]string{"serve", "--help"}, true},
		{[]string{"serve"}, false},
		{[]string{"demo"}, false},
		{[]string{"token", "mint", "--rtm-user=u", "--app-id=" + appID, "--app-certificate=" + certificate}, false},
		{[]string{"sessions", "list"}, false},
	} {
		cmd := command(t, []string{"REFRESHER_LOG_FORMAT=text"}, c.args...)
		if err := os.Mkdir(filepath.Join(cmd.Dir, ".env"), 0o700); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := finish(t, cmd)
		if (code == 0) != c.ok || strings.Contains(stderr, ".env is a folder") == c.ok {
			t.Errorf("%v: exit %d, %s%s", c.args, code, stdout, stderr)
		}
	}
}

// With a bad .env file, the health command probes the default address and prints a warning.
func TestHealthGoesOnWithoutTheEnvFile(t *testing.T) {
	ops := program.Address(t)
	s := serve(t, command(t, credentialsEnv, "serve", "--auth=none", "--listen=127.0.0.1:0", "--ops-listen="+ops, "--drain-window=0"))
	c := command(t, nil, "health", "--ops-listen="+ops)
	if err := os.WriteFile(filepath.Join(c.Dir, ".env"), []byte("hush-hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := finish(t, c)
	if code != 0 || stdout != "ok\n" {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	if diff := cmp.Diff("refresher: .env: line 1: want NAME=value, without spaces before the =; going on without it\n", stderr); diff != "" {
		t.Error(diff)
	}
	s.stop(syscall.SIGTERM)
}

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"

	"refresher/internal/app"
	"refresher/test/program"
)

// secretSettings has each secret's flag, with a function that returns where the secret is stored.
var secretSettings = map[string]func(app.Config) string{
	"jwt-secret":                func(c app.Config) string { return c.Projects[0].Keys.Secrets[0] },
	"jwt-previous-secret":       func(c app.Config) string { return c.Projects[0].Keys.Secrets[0] },
	"session-secret":            func(c app.Config) string { return c.SessionSecret },
	"previous-session-secret":   func(c app.Config) string { return c.PreviousSessionSecret },
	"events-secret":             func(c app.Config) string { return c.Events.Secret },
	"events-previous-secret":    func(c app.Config) string { return c.Events.PreviousSecret },
	"authorize-previous-secret": func(c app.Config) string { return c.Authorize.PreviousSecret },
	"authorize-secret":          func(c app.Config) string { return c.Authorize.Secret },
	"redis-url":                 func(c app.Config) string { return c.Redis.URL },
}

// variableOf returns the environment variable of a flag.
func variableOf(flag string) string {
	return "REFRESHER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// serveConfig returns the configuration that `refresher serve` reads from the environment env.
func serveConfig(t *testing.T, env map[string]string) (app.Config, error) {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
	var c serveCommand
	_, err := kong.Must(&c, kong.Name("serve")).Parse([]string{"--app-id=" + appID, "--app-certificate=" + certificate})
	if err != nil {
		return app.Config{}, err
	}
	return c.appConfig()
}

// Spaces, line ends and byte order marks, which Kubernetes, shells and editors add, are removed from secrets.
func TestSecretsAreTrimmed(t *testing.T) {
	const secret = "hush-hush, 32 bytes or more of it"
	dir := t.TempDir()
	for flag, secretOf := range secretSettings {
		for _, text := range []string{secret, secret + "\n", " " + secret + "\r\n", "\ufeff" + secret} {
			file := write(t, dir, "secret", text)
			for variable, value := range map[string]string{variableOf(flag): text, variableOf(flag) + "_FILE": file} {
				t.Run(variable, func(t *testing.T) {
					c, err := serveConfig(t, map[string]string{variable: value})
					if err != nil {
						t.Fatal(err)
					}
					if have := secretOf(c); have != secret {
						t.Errorf("%q is taken as %q", text, have)
					}
				})
			}
		}
	}
}

func TestSecretsThatCannotBeMeant(t *testing.T) {
	dir := t.TempDir()
	for flag := range secretSettings {
		for text, want := range map[string]string{
			`"hush-hush, 32 bytes or more of it"`:    ": is in quotes; leave them out",
			"'hush-hush, 32 bytes or more of it'\n":  ": is in quotes; leave them out",
			"hush-hush, 32 bytes or\nmore of it":     ": has several lines; want one",
			"\xff\xfeh\x00u\x00s\x00h\x00-\x00h\x00": ": is not text in UTF-8",
			" \n":                                    ": is empty",
			"":                                       ": is empty",
		} {
			file := write(t, dir, "secret", text)
			settings := map[string]map[string]string{"--" + flag + "-file: " + file: {variableOf(flag) + "_FILE": file}}
			if text != "" && !strings.Contains(text, "\x00") { // a variable cannot contain a zero byte
				settings["--"+flag] = map[string]string{variableOf(flag): text}
			}
			for name, env := range settings {
				t.Run(name, func(t *testing.T) {
					_, err := serveConfig(t, env)
					if err == nil || !strings.HasPrefix(err.Error(), name+want) || strings.Contains(err.Error(), "hush") {
						t.Errorf("%q: %v; want %s%s", text, err, name, want)
					}
				})
			}
		}
		t.Run(flag+" twice", func(t *testing.T) {
			file := write(t, dir, "secret", "hush-hush")
			_, err := serveConfig(t, map[string]string{variableOf(flag): "hush-hush", variableOf(flag) + "_FILE": file})
			want := fmt.Sprintf("--%[1]s and --%[1]s-file are both set", flag)
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("%v; want %s", err, want)
			}
		})
	}
}

func TestSecretsOfAProjectsFile(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "secret", "\ufeff"+firstSecret+"\r\n")
	previous := write(t, dir, "previous", otherSecret+"\n")
	projects := fmt.Sprintf("projects: [{appId: %s, appCertificate: %s, jwtSecretFile: %s, jwtPreviousSecretFile: %s}]", appID, certificate, file, previous)
	got, err := readProjects(write(t, dir, "projects.yaml", projects))
	if err != nil {
		t.Fatal(err)
	}
	if secrets := got[0].Keys.Secrets; len(secrets) != 2 || secrets[0] != firstSecret || secrets[1] != otherSecret {
		t.Errorf("%q", secrets)
	}
	for fields, want := range map[string]string{
		`jwtSecret: "'hush-hush'"`:                                    "projects[0].jwtSecret: is in quotes",
		`jwtPreviousSecret: " "`:                                      "projects[0].jwtPreviousSecret: is empty",
		"jwtSecretFile: " + write(t, dir, "quoted", `"hush"`):         ": is in quotes",
		"jwtPreviousSecretFile: " + write(t, dir, "empty", "\n"):      ": is empty",
		"jwtPreviousSecret: hush, jwtPreviousSecretFile: " + previous: "projects[0].jwtPreviousSecret and projects[0].jwtPreviousSecretFile are both set",
	} {
		text := fmt.Sprintf("projects: [{appId: %s, appCertificate: %s, %s}]", appID, certificate, fields)
		_, err := readProjects(write(t, dir, "projects.yaml", text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

// A node starts to use a changed secret without a restart. It still accepts the previous secret where that is
// configured, and keeps its secret while the file is invalid.
func TestJWTSecretsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	secrets := []string{firstSecret, otherSecret, "hush-hush, of the third one, 32 bytes too"}
	current, previous := write(t, dir, "current", secrets[0]+"\n"), write(t, dir, "previous", secrets[0])
	addr := program.Address(t)
	s := serve(t, command(t, credentialsEnv, "serve", "--listen="+addr, "--ops-listen=127.0.0.1:0", "--drain-window=0",
		"--jwt-secret-file="+current, "--jwt-previous-secret-file="+previous))
	demand := func(accepted ...bool) {
		t.Helper()
		for i, want := range accepted {
			env := []string{"REFRESHER_JWT_SECRET_FILE=" + write(t, dir, "signing", secrets[i]+"\n")}
			grant, stderr, code := run(t, env, "token", "grant", "--admin")
			if code != 0 {
				t.Fatal(stderr)
			}
			// a shell's variable may keep the line end
			_, stderr, code = run(t, []string{"REFRESHER_CREDENTIAL=" + grant, "REFRESHER_API_URL=http://" + addr}, "sessions", "list")
			if (code == 0) != want {
				t.Errorf("secret %d: exit %d, %s", i, code, stderr)
			}
		}
	}
	// replace replaces a file, makes the service read it, and waits for the log line `said`.
	replace := func(file, text, said string) {
		t.Helper()
		if err := os.Rename(write(t, dir, "next", text), file); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		s.find(said)
	}
	const again, refused = `"file has changed and was read again"`, `"file can't be used; what it held before stays in use".*%s`
	demand(true, false, false)
	replace(current, secrets[1]+"\n", again)
	demand(true, true, false)
	replace(previous, secrets[1], again)
	demand(false, true, false)
	replace(current, `"`+secrets[2]+`"`, fmt.Sprintf(refused, "--jwt-secret-file: "+current+": is in quotes"))
	replace(current, "hush-hush", fmt.Sprintf(refused, "has 9 bytes; want at least 32"))
	demand(false, true, false)
	replace(current, secrets[2], again)
	demand(false, true, true)
	if rest := s.stop(syscall.SIGTERM); strings.Contains(rest, "hush") {
		t.Errorf("a secret is in the log: %s", rest)
	}
}

func TestQuotedCertificate(t *testing.T) {
	file := write(t, t.TempDir(), "certificate", `"`+certificate+`"`)
	_, stderr, code := run(t, []string{"APP_ID=" + appID + "\n", "REFRESHER_APP_CERTIFICATE_FILE=" + file}, "serve", "--auth=none", "--listen=127.0.0.1:0")
	if code == 0 || !strings.Contains(stderr, "REFRESHER_APP_CERTIFICATE_FILE: "+file+": is in quotes") || strings.Contains(stderr, certificate) {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// If a back end's secret is too short, or not base64 after "whsec_", the service does not start, and the
// error names the flag.
func TestSecretsOfBackEnds(t *testing.T) {
	for flag, url := range map[string]string{"events": "--events-url=http://127.0.0.1:1", "authorize": "--authorize-url=http://127.0.0.1:1"} {
		for secret, want := range map[string]string{
			"hush-hush":                  "want at least 24 bytes, have 9",
			"whsec_":                     "want the base64 of 24 to 64 bytes",
			"whsec_aHVzaC1odXNo":         "want the base64 of 24 to 64 bytes",
			"whsec_hush-hush, no base64": "is not base64",
		} {
			for name, env := range map[string][]string{
				variableOf(flag+"-secret") + ": ": {variableOf(flag+"-secret") + "=" + secret},
				variableOf(flag+"-previous-secret") + ": ": {
					variableOf(flag+"-secret") + "=" + firstSecret, variableOf(flag+"-previous-secret") + "=" + secret,
				},
			} {
				_, stderr, code := run(t, append(env, credentialsEnv...), "serve", "--auth=none", "--listen=127.0.0.1:0", url)
				if code == 0 || !strings.Contains(stderr, name) || !strings.Contains(stderr, want) || strings.Contains(stderr, "hush") || strings.Contains(stderr, "aHVz") {
					t.Errorf("%s%q: exit %d: %s", name, secret, code, stderr)
				}
			}
		}
	}
}

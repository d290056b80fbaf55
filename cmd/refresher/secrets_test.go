package main

import (
	"strings"
	"testing"

	"refresher/internal/app"
)

// secretSettings maps the flag of each secret to a function that returns the secret from a configuration.
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

// serveConfig returns the configuration of `refresher serve` with these environment variables.
func serveConfig(t *testing.T, env ...string) (app.Config, error) {
	t.Helper()
	for _, setting := range env {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	var c serveCommand
	if err := parse(t, &c, "--app-id="+appID, "--app-certificate="+certificate); err != nil {
		return app.Config{}, err
	}
	return c.appConfig()
}

func TestSecretsByVariableAndFile(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good", "\ufeff"+firstSecret+"\r\n")
	quoted := write(t, dir, "quoted", `"hush-hush, in quotes"`)
	for flag, secretOf := range secretSettings {
		variable := "REFRESHER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		for _, env := range []string{variable + "= " + firstSecret + "\n", variable + "_FILE=" + good} {
			t.Run(env, func(t *testing.T) {
				if c, err := serveConfig(t, env); err != nil || secretOf(c) != firstSecret {
					t.Errorf("%q, %v", secretOf(c), err)
				}
			})
		}
		for name, c := range map[string]struct {
			env  []string
			want string
		}{
			"quoted":         {[]string{variable + `="hush-hush, in quotes"`}, "--" + flag + ": is in quotes"},
			"quoted in file": {[]string{variable + "_FILE=" + quoted}, "--" + flag + "-file: " + quoted + ": is in quotes"},
			"twice":          {[]string{variable + "=hush", variable + "_FILE=" + good}, "--" + flag + " and --" + flag + "-file are both set"},
		} {
			t.Run(flag+" "+name, func(t *testing.T) {
				_, err := serveConfig(t, c.env...)
				if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
					t.Errorf("%v; want %s", err, c.want)
				}
			})
		}
	}
}

// When a file of keys changes, ReadKeys returns the new keys.
func TestKeysAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	current, previous := write(t, dir, "current", firstSecret), write(t, dir, "previous", firstSecret)
	c, err := serveConfig(t, "REFRESHER_JWT_SECRET_FILE="+current, "REFRESHER_JWT_PREVIOUS_SECRET_FILE="+previous)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Projects[0]
	if len(p.KeyFiles) != 2 || p.KeyFiles[0] != current || p.KeyFiles[1] != previous {
		t.Errorf("follows %q", p.KeyFiles)
	}
	write(t, dir, "current", otherSecret+"\n")
	if keys, err := p.ReadKeys(); err != nil || len(keys.Secrets) != 2 || keys.Secrets[0] != otherSecret || keys.Secrets[1] != firstSecret {
		t.Errorf("%q, %v", keys.Secrets, err)
	}
	write(t, dir, "current", "hush-hush")
	if _, err := p.ReadKeys(); err == nil || !strings.Contains(err.Error(), "--jwt-secret-file: "+current+": has 9 bytes; want at least 32") {
		t.Error(err)
	}
}

package hook

import (
	"strings"
	"testing"
	"time"
)

// makers has the constructor of each webhook, by the prefix of its flags.
var makers = map[string]func(Config) error{
	"events":    func(c Config) error { _, err := NewEvents(c); return err },
	"authorize": func(c Config) error { _, err := NewApproval(c); return err },
}

func TestConfigErrors(t *testing.T) {
	const form = "want a value such as https://app.example.com/path; special characters in a user, password or query want %-encoding"
	for url, want := range map[string]string{
		"/hooks?t=tiger":                "-url: " + form,
		"scott:lion@app.test/hooks":     "-url: " + form,
		"ftp://scott:lion@app.test/":    "-url: " + form,
		"https:///hooks?t=tiger":        "-url: " + form,
		"https://scott:lion%zz@a.test/": "-url: " + form,
		"https://scott:lion/x@a.test/":  "-url: " + form,
		"https://app.test/#tiger":       "-url: want no fragment (#)",
		"https://app.test/#":            "-url: want no fragment (#)",
		"https://app.test:0/":           "-url: want a port from 1 to 65535",
		"https://app.test:65536/":       "-url: want a port from 1 to 65535",
	} {
		for prefix, newHook := range makers {
			if err := newHook(Config{URL: url, Secret: testSecret}); err == nil || err.Error() != prefix+want {
				t.Errorf("%s: %v, want %s", url, err, prefix+want)
			}
		}
	}
	for prefix, newHook := range makers {
		for flag, c := range map[string]Config{"-secret": {Secret: testSecret}, "-previous-secret": {PreviousSecret: testSecret}} {
			if err := newHook(c); err == nil || !strings.HasPrefix(err.Error(), prefix+flag+": set without "+prefix+"-url, which says ") {
				t.Errorf("%s%s without a URL: %v", prefix, flag, err)
			}
		}
		if err := newHook(Config{URL: "https://app.test", Secret: "short"}); err == nil || !strings.HasPrefix(err.Error(), prefix+"-secret: want at least 24 bytes") {
			t.Errorf("a short secret: %v", err)
		}
		if err := newHook(Config{}); err != nil {
			t.Errorf("nothing set: %v", err)
		}
	}
	if _, err := NewApproval(Config{Timeout: -time.Second}); err == nil {
		t.Error("a timeout below 0 was accepted")
	}
}

func TestPlainHTTPIsWarnedAbout(t *testing.T) {
	for url, want := range map[string]int{
		"https://app.test/": 0, "HTTP://scott:lion@app.test/?t=tiger": 1, "http://localhost:3000/": 0,
	} {
		for prefix, newHook := range makers {
			h := newHarness(t)
			c := h.config()
			c.URL = url
			if err := newHook(c); err != nil || h.lines("not encrypted") != want {
				t.Errorf("%s, %s: %v, logged %s", prefix, url, err, &h.log)
			}
		}
	}
}

package hook

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// makers has the constructor of each webhook, by the prefix of its flags.
var makers = map[string]func(Config) error{
	"events":    func(c Config) error { _, err := NewEvents(c); return err },
	"authorize": func(c Config) error { _, err := NewApproval(c); return err },
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // start of the error after the prefix; % stands for the prefix
	}{
		"no URL":         {func(c *Config) { c.URL = "" }, "-secret: set without %-url"},
		"relative":       {func(c *Config) { c.URL = "/hooks?t=tiger" }, "-url: "},
		"no scheme":      {func(c *Config) { c.URL = "scott:lion@app.test/hooks" }, "-url: "},
		"other scheme":   {func(c *Config) { c.URL = "ftp://scott:lion@app.test/" }, "-url: "},
		"no host":        {func(c *Config) { c.URL = "https:///hooks?t=tiger" }, "-url: "},
		"opaque":         {func(c *Config) { c.URL = "https:tiger" }, "-url: "},
		"fragment":       {func(c *Config) { c.URL = "https://scott:lion@app.test/#tiger" }, "-url: want no fragment"},
		"empty fragment": {func(c *Config) { c.URL = "https://scott:lion@app.test/#" }, "-url: want no fragment"},
		"raw password":   {func(c *Config) { c.URL = "https://scott:lion%zz@app.test/" }, "-url: "},
		"slash in it":    {func(c *Config) { c.URL = "https://scott:lion/tiger@app.test/" }, "-url: "},
		"port not one":   {func(c *Config) { c.URL = "https://app.test:lion/" }, "-url: "},
		"port 0":         {func(c *Config) { c.URL = "https://app.test:0/" }, "-url: want a port"},
		"port beyond":    {func(c *Config) { c.URL = "https://app.test:65536/" }, "-url: want a port"},
		"no secret":      {func(c *Config) { c.Secret = "" }, "-secret: want at least 24 bytes, have 0"},
		"short secret":   {func(c *Config) { c.Secret = "lion tiger puma" }, "-secret: want at least 24 bytes, have 15"},
		"short before":   {func(c *Config) { c.PreviousSecret = "lion tiger puma" }, "-previous-secret: want at least 24 bytes, have 15"},
		"not base64":     {func(c *Config) { c.PreviousSecret = "whsec_lion tiger puma" }, "-previous-secret: what follows whsec_ is not base64"},
	} {
		for prefix, newHook := range makers {
			config := Config{URL: "https://app.test/", Secret: testSecret, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
			c.change(&config)
			err := newHook(config)
			if err == nil {
				t.Errorf("%s, %s: accepted", prefix, name)
				continue
			}
			if want := prefix + strings.ReplaceAll(c.want, "%", prefix); !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
			for _, hidden := range []string{"scott", "lion", "tiger", testSecret} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("%s: the error holds %q: %v", name, hidden, err)
				}
			}
		}
	}
}

// A plain http URL is warned about once, unless its host is this machine. The log contains no secret of the
// URL; for approvals it contains only the origin.
func TestPlainHTTPIsWarnedAbout(t *testing.T) {
	for url, want := range map[string]int{
		"https://app.test/":                        0,
		"HTTP://scott:lion@app.test/puma/?t=tiger": 1,
		"http://10.0.0.1:8080/":                    1,
		"http://localhost:3000/":                   0,
		"http://127.0.0.1/":                        0,
		"http://[::1]:3000/":                       0,
		"http://127.0.0.1.test/":                   1,
	} {
		for prefix, newHook := range makers {
			log := &logBuffer{}
			if err := newHook(Config{
				URL: url, Secret: testSecret, PreviousSecret: prefixedSecret,
				Logger: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry(),
			}); err != nil {
				t.Fatal(err)
			}
			if n := log.lines("not encrypted"); n != want {
				t.Errorf("%s, %s: %d lines, want %d", prefix, url, n, want)
			}
			if prefix == "authorize" && strings.Contains(url, "puma") && log.lines("endpoint=http://app.test\n") != 1 {
				t.Errorf("%s: logged %s", url, log)
			}
			hidden := []string{"scott", "lion", "tiger", testSecret, prefixedSecret}
			if prefix == "authorize" {
				hidden = append(hidden, "puma")
			}
			for _, h := range hidden {
				if strings.Contains(log.String(), h) {
					t.Errorf("%s, %s: %q is in the log: %s", prefix, url, h, log)
				}
			}
		}
	}
}

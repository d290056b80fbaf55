package hook

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestEventsConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // how the error begins
	}{
		"no URL":         {func(c *Config) { c.URL = "" }, "events-secret: set without events-url"},
		"relative":       {func(c *Config) { c.URL = "/hooks?t=tiger" }, "events-url: "},
		"no scheme":      {func(c *Config) { c.URL = "scott:lion@app.test/hooks" }, "events-url: "},
		"other scheme":   {func(c *Config) { c.URL = "ftp://scott:lion@app.test/" }, "events-url: "},
		"no host":        {func(c *Config) { c.URL = "https:///hooks?t=tiger" }, "events-url: "},
		"opaque":         {func(c *Config) { c.URL = "https:tiger" }, "events-url: "},
		"fragment":       {func(c *Config) { c.URL = "https://scott:lion@app.test/#tiger" }, "events-url: want no fragment"},
		"empty fragment": {func(c *Config) { c.URL = "https://scott:lion@app.test/#" }, "events-url: want no fragment"},
		"raw password":   {func(c *Config) { c.URL = "https://scott:lion%zz@app.test/" }, "events-url: "},
		"slash in it":    {func(c *Config) { c.URL = "https://scott:lion/tiger@app.test/" }, "events-url: "},
		"port not one":   {func(c *Config) { c.URL = "https://app.test:lion/" }, "events-url: "},
		"port 0":         {func(c *Config) { c.URL = "https://app.test:0/" }, "events-url: want a port"},
		"port beyond":    {func(c *Config) { c.URL = "https://app.test:65536/" }, "events-url: want a port"},
		"no secret":      {func(c *Config) { c.Secret = "" }, "events-secret: want at least 24 bytes, have 0"},
		"short secret":   {func(c *Config) { c.Secret = "lion tiger puma" }, "events-secret: want at least 24 bytes, have 15"},
		"short before":   {func(c *Config) { c.PreviousSecret = "lion tiger puma" }, "events-previous-secret: want at least 24 bytes, have 15"},
		"not base64":     {func(c *Config) { c.PreviousSecret = "whsec_lion tiger puma" }, "events-previous-secret: what follows whsec_ is not base64"},
	} {
		config := Config{URL: "https://app.test/", Secret: testSecret, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
		c.change(&config)
		_, err := NewEvents(config)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		for _, hidden := range []string{"scott", "lion", "tiger", testSecret} {
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("%s: the error holds %q: %v", name, hidden, err)
			}
		}
	}
}

// A plain http URL for events causes one warning, unless it is on this machine.
func TestEventsPlainHTTP(t *testing.T) {
	for url, want := range map[string]int{
		"https://app.test/":                   0,
		"HTTP://scott:lion@app.test/?t=tiger": 1,
		"http://10.0.0.1:8080/":               1,
		"http://localhost:3000/":              0,
		"http://127.0.0.1/":                   0,
		"http://[::1]:3000/":                  0,
		"http://127.0.0.1.test/":              1,
	} {
		log := &logBuffer{}
		if _, err := NewEvents(Config{
			URL: url, Secret: testSecret, PreviousSecret: prefixedSecret,
			Logger: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry(),
		}); err != nil {
			t.Fatal(err)
		}
		if n := log.lines("not encrypted"); n != want {
			t.Errorf("%s: %d lines, want %d", url, n, want)
		}
		for _, hidden := range []string{"scott", "lion", "tiger", testSecret, prefixedSecret} {
			if strings.Contains(log.String(), hidden) {
				t.Errorf("%s: logged %s", url, log)
			}
		}
	}
}

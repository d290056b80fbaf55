package hook

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestApprovalConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // how the error begins
	}{
		"no URL":       {func(c *Config) { c.URL = "" }, "authorize-secret: set without authorize-url"},
		"raw password": {func(c *Config) { c.URL = "https://scott:lion%zz@app.test/" }, "authorize-url: "},
		"fragment":     {func(c *Config) { c.URL = "https://scott:lion@app.test/#tiger" }, "authorize-url: want no fragment"},
		"short secret": {func(c *Config) { c.Secret = "lion tiger puma" }, "authorize-secret: want at least 24 bytes, have 15"},
		"short before": {func(c *Config) { c.PreviousSecret = "lion tiger puma" }, "authorize-previous-secret: want at least 24 bytes, have 15"},
		"not base64":   {func(c *Config) { c.Secret = "whsec_lion tiger puma" }, "authorize-secret: what follows whsec_ is not base64"},
	} {
		config := Config{URL: "https://app.test/", Secret: testSecret, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
		c.change(&config)
		_, err := NewApproval(config)
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

// A plain http URL causes one warning, unless it is on this machine.
func TestApprovalPlainHTTP(t *testing.T) {
	for url, want := range map[string]int{
		"https://app.test/":                        0,
		"HTTP://scott:lion@app.test/puma/?t=tiger": 1,
		"http://127.0.0.1:3000/":                   0,
	} {
		log := &logBuffer{}
		if _, err := NewApproval(Config{
			URL: url, Secret: testSecret, PreviousSecret: prefixedSecret,
			Logger: slog.New(slog.NewTextHandler(log, nil)), Registerer: prometheus.NewRegistry(),
		}); err != nil {
			t.Fatal(err)
		}
		if n := log.lines("not encrypted"); n != want {
			t.Errorf("%s: %d lines, want %d", url, n, want)
		}
		if want == 1 && log.lines("endpoint=http://app.test\n") != 1 {
			t.Errorf("%s: logged %s", url, log)
		}
		for _, hidden := range []string{"scott", "lion", "puma", "tiger", testSecret, prefixedSecret} {
			if strings.Contains(log.String(), hidden) {
				t.Errorf("%s: %q is in the log: %s", url, hidden, log)
			}
		}
	}
}

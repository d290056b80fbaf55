package authorize

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // how the error begins
	}{
		"no URL":        {func(c *Config) { c.URL = "" }, "authorize-url: "},
		"raw password":  {func(c *Config) { c.URL = "https://scott:lion%zz@app.test/" }, "authorize-url: "},
		"fragment":      {func(c *Config) { c.URL = "https://scott:lion@app.test/#tiger" }, "authorize-url: want no fragment"},
		"short secret":  {func(c *Config) { c.Secret = "lion tiger puma" }, "authorize-secret: want at least 24 bytes, have 15"},
		"short before":  {func(c *Config) { c.PreviousSecret = "lion tiger puma" }, "authorize-previous-secret: want at least 24 bytes, have 15"},
		"not base64":    {func(c *Config) { c.Secret = "whsec_lion tiger puma" }, "authorize-secret: what follows whsec_ is not base64"},
		"queue":         {func(c *Config) { c.QueueSize = -1 }, "authorize: "},
		"concurrency":   {func(c *Config) { c.Concurrency = -1 }, "authorize: "},
		"rate":          {func(c *Config) { c.Rate = -1 }, "authorize: "},
		"timeout":       {func(c *Config) { c.Timeout = -1 }, "authorize: "},
		"patience":      {func(c *Config) { c.Patience = 0 }, "authorize: "},
		"no logger":     {func(c *Config) { c.Logger = nil }, "authorize: "},
		"no registerer": {func(c *Config) { c.Registerer = nil }, "authorize: "},
	} {
		config := Config{URL: "https://app.test/", Secret: testSecret, Patience: time.Second, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
		c.change(&config)
		_, err := New(config)
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

// TestPlainHTTP: it is worth one line, but not on this machine.
func TestPlainHTTP(t *testing.T) {
	for url, want := range map[string]int{
		"https://app.test/":                        0,
		"HTTP://scott:lion@app.test/puma/?t=tiger": 1,
		"http://127.0.0.1:3000/":                   0,
	} {
		s := newStage(t, func(c *Config) { c.URL, c.PreviousSecret = url, previousSecret })
		if n := s.log.lines("in the clear"); n != want {
			t.Errorf("%s: %d lines, want %d", url, n, want)
		}
		if want == 1 && s.log.lines("endpoint=http://app.test\n") != 1 {
			t.Errorf("%s: logged %s", url, s.log)
		}
		for _, hidden := range []string{"scott", "lion", "puma", "tiger", testSecret, previousSecret} {
			if text := s.log.String() + fmt.Sprintf("%+v", s.asker.config); strings.Contains(text, hidden) {
				t.Errorf("%s: %q is in the log or the config: %s", url, hidden, text)
			}
		}
	}
}

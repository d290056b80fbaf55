package origin

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		settings         []string
		allowed, refused []string
	}{
		{
			nil,
			[]string{"", "https://api.example.com", "HTTPS://API.EXAMPLE.COM"}, // a request without an Origin header is not from a web page
			[]string{"https://api.example.com:8443", "https://app.example.com", "null", "::", "capacitor://api.example.com"},
		},
		{[]string{"*"}, []string{"https://anything.net", "null", "capacitor://localhost"}, nil},
		{[]string{"https://app.example.com/"}, []string{"https://app.example.com"}, []string{"http://app.example.com", "https://app.example.com.evil.net"}},
		{[]string{" App.Example.com ", "b.net"}, []string{"http://app.example.com", "https://b.net"}, []string{"capacitor://app.example.com"}},
		{
			[]string{"*.example.com"},
			[]string{"https://app.example.com"},
			[]string{
				"https://app.example.com:8443", "https://example.com", "https://.example.com", "https://a.b.example.com",
				"https://evilexample.com", "https://evil.net/.example.com", "chrome-extension://app.example.com",
			},
		},
		{[]string{"app-*.example.com:8443"}, []string{"https://app-42.example.com:8443"}, []string{"https://app-42.example.com"}},

		// Browsers omit default ports, so a setting with a default port allows the origin without a port.
		{[]string{"localhost:3000"}, []string{"http://localhost:3000"}, []string{"http://localhost:3001", "http://localhost"}},
		{[]string{"https://app.example.com:443"}, []string{"https://app.example.com"}, []string{"http://app.example.com:443"}},
		{[]string{"https://app.example.com:80"}, nil, []string{"https://app.example.com"}},
		{[]string{"app.example.com:443"}, []string{"https://app.example.com"}, []string{"http://app.example.com"}},

		// Browsers send host names in ASCII, so a setting with other letters allows the ASCII form of the name.
		{[]string{"https://BÜCHER.example"}, []string{"https://xn--bcher-kva.example", "https://XN--bcher-kva.example"}, nil},
		{[]string{"https://straße.example"}, []string{"https://xn--strae-oqa.example"}, []string{"https://strasse.example"}},
		{[]string{"https://r3---a_b.example"}, []string{"https://r3---a_b.example"}, nil},

		{[]string{"http://[0:0::0:1]:3000"}, []string{"http://[::1]:3000"}, []string{"http://[::2]:3000"}},
		{[]string{"[2001:DB8::1]"}, []string{"https://[2001:db8::1]"}, nil},

		// Origins of apps must match a setting exactly.
		{
			[]string{"Capacitor://localhost/"},
			[]string{"capacitor://localhost"},
			[]string{"ionic://localhost", "http://localhost", "capacitor://localhost:80", "capacitor://localhost.evil.net", "capacitor://LOCALHOST"},
		},
		{[]string{"file:///"}, []string{"file://"}, []string{"null"}},
	} {
		p, err := newPolicy(c.settings)
		if err != nil {
			t.Error(err)
			continue
		}
		for i, origin := range slices.Concat(c.allowed, c.refused) {
			if want := i < len(c.allowed); p.allows(origin, "api.example.com") != want {
				t.Errorf("%v, %q: allowed %t", c.settings, origin, !want)
			}
		}
	}
}

// The service's own pages are allowed, however a proxy rewrites the Host header.
func TestOwnOrigin(t *testing.T) {
	for host, origins := range map[string]map[string]bool{
		"CALLS.example.com:443":  {"https://calls.example.com": true, "http://calls.example.com": false},
		"calls.example.com:080":  {"http://calls.example.com": true, "https://calls.example.com": false},
		"calls.example.com:8443": {"https://calls.example.com:8443": true, "https://calls.example.com": false},
		"calls.example.com":      {"https://calls.example.com:8443": false},
		"[::1]":                  {"http://[::1]": true},
		"bücher.example":         {"https://xn--bcher-kva.example": true},
		"*.example.com":          {"https://calls.example.com": false},
		"calls.example.com:":     {"https://calls.example.com": false},
		"":                       {"https://calls.example.com": false, "https://": false, "file://": false},
		"null":                   {"null": false},
	} {
		for origin, want := range origins {
			if got := new(policy).allows(origin, host); got != want {
				t.Errorf("%q at %q: %v", origin, host, got)
			}
		}
	}
}

// For a local service without credentials, a page whose host name was made to resolve to this machine (DNS
// rebinding) is not the service's own page.
func TestOwnOriginOfALocalService(t *testing.T) {
	for host, own := range map[string]bool{
		"localhost:8080": true, "127.0.0.1": true, "[::1]:8080": true, "evil.example": false, "10.0.0.1:8080": false,
	} {
		k, err := New(Config{LocalOnly: true, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Host: host, Header: http.Header{"Origin": {"http://" + host}}}
		if k.Allows(r) != own || k.Misdirected(r) == own {
			t.Errorf("at %s: allowed %v, misdirected %v", host, k.Allows(r), k.Misdirected(r))
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	for setting, want := range map[string]string{
		"": "is empty", "ftp://x": "not the origin of a page", "wss://app.example.com": "the address of the page, not of the service", "ws://x": "not the origin of a page",
		"https://": "want a value such as", "https://x/path": "has a path", "x?y": "want a value such as", "user@x": "want a value such as", "[a-z].net": "want a value such as",
		"https://*": "want a value such as", "*:3000": "want a value such as", "https://x:": "want a value such as", "https://x:65536": "want a value such as",
		"https://a b": "want a value such as", "https://[::1": "want a value such as", "https://::1": "want a value such as", "https://[127.0.0.1]": "want a value such as", "https://[fe80::1%25eth0]": "want a value such as",
		"https://a..b": "want a value such as", "https://xn--a": "want a value such as", "*.bü*.example": "want a value such as", "://x": "want a value such as", "1http://x": "the exact origin",
		"null": "sandboxed frames", "NULL": "sandboxed frames",
		"capacitor://localhost/app": "the exact origin", "chrome-extension://*": "the exact origin", "app://a b": "the exact origin", "app://ü": "the exact origin", "app://\x7f": "the exact origin",
	} {
		if _, err := newPolicy([]string{setting}); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), fmt.Sprintf("allowed-origins: %q: ", setting)) {
			t.Errorf("%q: %v", setting, err)
		}
	}
}

// The longest name in DNS has 253 characters. Longer names are refused before they are converted to ASCII, since the
// time for a conversion grows with the square of the length.
func TestLongNamesAreRefused(t *testing.T) {
	longest := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 61)
	if _, err := parse("https://" + longest + ":65535"); err != nil {
		t.Errorf("%d characters: %v", len(longest), err)
	}
	for _, label := range []string{strings.Repeat("x", 256), strings.Repeat("中", 86), "xn--" + strings.Repeat("a", 252)} {
		if _, err := parse("https://" + label); err == nil {
			t.Errorf("%.8s: %d bytes are accepted", label, len(label))
		}
	}
}

// All refusals are counted, and some are logged. Log lines have only printable ASCII from the client's text.
func TestRefusalsAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		k, err := New(Config{
			Allowed: []string{"https://app.example.com"},
			Logger:  slog.New(slog.NewJSONHandler(&log, nil)), Registerer: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		// ask returns the log lines about a page's request.
		ask := func(from string, want bool) string {
			log.Reset()
			if k.Allows(&http.Request{Host: "calls.example.com:8080", Header: http.Header{"Origin": {from}}}) != want {
				t.Errorf("%q: allowed %t", from, !want)
			}
			return log.String()
		}
		if text := ask("https://app.example.com", true); text != "" {
			t.Errorf("an allowed page is logged: %s", text)
		}
		const want = `"origin":"https://evil.example","host":"calls.example.com:8080","allowed":["https://app.example.com"],"unlogged":0}`
		if text := ask("https://evil.example", false); !strings.Contains(text, want) {
			t.Errorf("%s, want %s", text, want)
		}
		text := ask("\u009b\u202e\x7f\xff\x00\n "+strings.Repeat("x", 10_000), false)
		if len(text) > 400 || !strings.Contains(text, `"origin":"???????xxx`) {
			t.Errorf("%q", text)
		}
		lines := 0
		for range 1000 {
			lines += strings.Count(ask("https://evil.example", false), "\n")
		}
		time.Sleep(logEvery) // bubble
		text = ask("https://evil.example", false)
		if lines != logBurst-2 || !strings.Contains(text, `"unlogged":997}`) || testutil.ToFloat64(k.refused) != 1003 {
			t.Errorf("%d lines for a thousand refusals, then %s; counted %v", lines, text, testutil.ToFloat64(k.refused))
		}
	})
}

// FuzzParse checks that a parsed origin parses to itself: the normal form is stable.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://bücher.example:443", "http://[::1]:3000", "app://.", "file://", "*.x", "null"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parse(s)
		if err != nil {
			return
		}
		text := a.scheme + "://" + a.host
		if a.port != "" {
			text += ":" + a.port
		}
		if again, err := parse(text); err != nil || again != a {
			t.Errorf("%q is %+v, and %q is %+v, %v", s, a, text, again, err)
		}
	})
}

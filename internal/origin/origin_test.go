package origin

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		settings []string
		origin   string
		want     bool
	}{
		{nil, "", true}, // no Origin header: not a web page
		{nil, "https://api.example.com", true},
		{nil, "HTTPS://API.EXAMPLE.COM", true},
		{nil, "https://api.example.com:8443", false},
		{nil, "https://app.example.com", false},
		{nil, "null", false},
		{nil, "::", false},
		{nil, "capacitor://api.example.com", false}, // the host's own name, but a scheme that is not http or https
		{[]string{"*"}, "https://anything.net", true},
		{[]string{"*"}, "null", true},
		{[]string{"*"}, "capacitor://localhost", true},
		{[]string{"https://app.example.com"}, "https://app.example.com", true},
		{[]string{"https://app.example.com/"}, "https://app.example.com", true},
		{[]string{"https://app.example.com"}, "http://app.example.com", false},
		{[]string{"https://app.example.com"}, "https://app.example.com.evil.net", false},
		{[]string{"app.example.com"}, "http://app.example.com", true},
		{[]string{"app.example.com"}, "capacitor://app.example.com", false},
		{[]string{" App.Example.com "}, "https://app.example.COM", true},
		{[]string{"localhost:3000"}, "http://localhost:3000", true},
		{[]string{"localhost:3000"}, "http://localhost:3001", false},
		{[]string{"localhost"}, "http://localhost:3000", false},
		{[]string{"*.example.com"}, "https://app.example.com", true},
		{[]string{"*.example.com"}, "https://app.example.com:8443", false},
		{[]string{"*.example.com"}, "https://example.com", false},
		{[]string{"*.example.com"}, "https://.example.com", false},
		{[]string{"*.example.com"}, "https://a.b.example.com", false},
		{[]string{"*.example.com"}, "https://evilexample.com", false},
		{[]string{"*.example.com:8443"}, "https://app.example.com:8443", true},
		{[]string{"app-*.example.com"}, "https://app-42.example.com", true},
		{[]string{"https://*.example.com"}, "https://app.example.com", true},
		{[]string{"https://*.example.com"}, "https://evil.net/.example.com", false},
		{[]string{"a.net", "b.net"}, "https://b.net", true},

		// Browsers omit default ports.
		{[]string{"https://app.example.com:443"}, "https://app.example.com", true},
		{[]string{"https://app.example.com:443"}, "http://app.example.com:443", false},
		{[]string{"http://app.example.com:80"}, "http://app.example.com", true},
		{[]string{"https://app.example.com:80"}, "https://app.example.com", false},
		{[]string{"app.example.com:443"}, "https://app.example.com", true},
		{[]string{"app.example.com:443"}, "http://app.example.com", false},
		{[]string{"https://*.example.com:443"}, "https://app.example.com", true},

		// Browsers send host names in ASCII.
		{[]string{"https://bücher.example"}, "https://xn--bcher-kva.example", true},
		{[]string{"https://BÜCHER.example"}, "https://xn--bcher-kva.example", true},
		{[]string{"https://XN--bcher-kva.example"}, "https://xn--bcher-kva.example", true},
		{[]string{"https://*.bücher.example"}, "https://app.xn--bcher-kva.example", true},
		{[]string{"*.例え.テスト"}, "https://app.xn--r8jz45g.xn--zckzah", true},
		{[]string{"https://straße.example"}, "https://xn--strae-oqa.example", true},
		{[]string{"https://straße.example"}, "https://strasse.example", false},
		{[]string{"https://r3---a_b.example"}, "https://r3---a_b.example", true},

		// IP addresses.
		{[]string{"http://[::1]:3000"}, "http://[::1]:3000", true},
		{[]string{"http://[0:0::0:1]:3000"}, "http://[::1]:3000", true},
		{[]string{"http://[::1]:3000"}, "http://[::2]:3000", false},
		{[]string{"[2001:DB8::1]"}, "https://[2001:db8::1]", true},
		{[]string{"http://127.0.0.1:3000"}, "http://127.0.0.1:3000", true},

		// Origins of apps must match a setting exactly.
		{[]string{"capacitor://localhost"}, "capacitor://localhost", true},
		{[]string{"Capacitor://localhost/"}, "capacitor://localhost", true},
		{[]string{"capacitor://localhost"}, "ionic://localhost", false},
		{[]string{"capacitor://localhost"}, "http://localhost", false},
		{[]string{"capacitor://localhost"}, "capacitor://localhost:80", false},
		{[]string{"capacitor://localhost"}, "capacitor://localhost.evil.net", false},
		{[]string{"capacitor://localhost"}, "capacitor://LOCALHOST", false},
		{[]string{"ionic://localhost", "tauri://localhost"}, "tauri://localhost", true},
		{[]string{"app://."}, "app://.", true},
		{[]string{"app://."}, "app://x", false},
		{[]string{"file://"}, "file://", true},
		{[]string{"file:///"}, "file://", true},
		{[]string{"file://"}, "null", false},
		{[]string{"chrome-extension://abcdefghijklmnopabcdefghijklmnop"}, "chrome-extension://abcdefghijklmnopabcdefghijklmnop", true},
		{[]string{"chrome-extension://abcdefghijklmnopabcdefghijklmnop"}, "chrome-extension://bbcdefghijklmnopabcdefghijklmnop", false},
		{[]string{"*.example.com"}, "chrome-extension://app.example.com", false},
	} {
		p, err := newPolicy(c.settings)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := p.allows(c.origin, "api.example.com"); got != c.want {
			t.Errorf("%v allows %q: %v", c.settings, c.origin, got)
		}
	}
}

// The service's own pages are allowed, however a proxy rewrites the Host header.
func TestOwnOrigin(t *testing.T) {
	for _, c := range []struct {
		origin, host string
		want         bool
	}{
		{"https://calls.example.com", "calls.example.com", true},
		{"https://calls.example.com", "calls.example.com:443", true},
		{"https://calls.example.com", "CALLS.example.com:443", true},
		{"http://calls.example.com", "calls.example.com:80", true},
		{"https://calls.example.com", "calls.example.com:80", false},
		{"https://calls.example.com", "calls.example.com:8443", false},
		{"https://calls.example.com:8443", "calls.example.com:8443", true},
		{"https://calls.example.com:8443", "calls.example.com", false},
		{"http://[::1]:8080", "[::1]:8080", true},
		{"http://[::1]", "[::1]", true},
		{"https://xn--bcher-kva.example", "xn--bcher-kva.example:443", true},
		{"https://xn--bcher-kva.example", "bücher.example", true},
		{"https://calls.example.com", "", false},
		{"https://calls.example.com", "calls.example.com:", false},
		{"https://calls.example.com", "calls.example.com:0443", true},
		{"https://", "", false},
		{"null", "null", false},
		{"file://", "", false},
		{"capacitor://localhost", "localhost", false},
	} {
		if got := new(policy).allows(c.origin, c.host); got != c.want {
			t.Errorf("%q at %q: %v", c.origin, c.host, got)
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
		"": "is empty", "ftp://x": "no page has", "wss://app.example.com": "the page's own address, not the service's", "ws://x": "no page has",
		"https://": "want a form", "https://x/path": "has a path", "x?y": "want a form", "user@x": "want a form", "[a-z].net": "want a form",
		"https://*": "want a form", "*:3000": "want a form", "https://x:": "want a form", "https://x:y": "want a form", "https://x:123456": "want a form", "https://x:65536": "want a form", "https://x:-1": "want a form",
		"https://a b": "want a form", "https://[::1": "want a form", "https://::1": "want a form", "https://[fe80::1%25eth0]": "want a form",
		"https://a..b": "want a form", "https://xn--a": "want a form", "*.bü*.example": "want a form", "://x": "want a form", "1http://x": "spelled out",
		"null": "every sandboxed frame", "NULL": "every sandboxed frame",
		"capacitor://localhost/app": "spelled out", "chrome-extension://*": "spelled out", "app://a b": "spelled out", "app://ü": "spelled out",
	} {
		if _, err := newPolicy([]string{setting}); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), fmt.Sprintf("allowed-origins: %q: ", setting)) {
			t.Errorf("%q: %v", setting, err)
		}
	}
}

// The conversion of a name takes time that grows with the square of its length, and clients without a
// credential can send names. The longest name in DNS has 253 characters.
func TestLongNamesAreRefused(t *testing.T) {
	longest := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 61)
	if _, err := parse("https://" + longest + ":65535"); err != nil || len(longest) != 253 {
		t.Errorf("%d characters: %v", len(longest), err)
	}
	for name, label := range map[string]string{
		"ASCII": strings.Repeat("x", 256), "Unicode": strings.Repeat("中", 86), "Punycode": "xn--" + strings.Repeat("a", 252),
	} {
		if a, err := parse("https://" + label); err == nil {
			t.Errorf("%s: %d bytes are taken, as %d", name, len(label), len(a.host))
		}
	}
}

// Refusals are counted; some are logged, with the client's text made harmless.
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
		ask := func(from string) bool {
			return k.Allows(&http.Request{Host: "calls.example.com:8080", Header: http.Header{"Origin": {from}}})
		}
		if !ask("https://app.example.com") || log.Len() > 0 {
			t.Errorf("what is allowed is logged: %s", &log)
		}
		if ask("https://evil.example") {
			t.Error("allowed")
		}
		const want = `"level":"WARN","msg":"refused a page, its origin is not allowed; see --allowed-origins","origin":"https://evil.example","host":"calls.example.com:8080","allowed":["https://app.example.com"],"unlogged":0}`
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s, want %s", &log, want)
		}
		log.Reset()
		ask("\u009b\u202e\x7f\xff\x00\n" + strings.Repeat("x", 10_000))
		if text := log.String(); len(text) > 400 || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r >= 0x7f) }) {
			t.Errorf("%q", text)
		}
		log.Reset()
		for range 1000 {
			ask("https://evil.example")
		}
		if got := strings.Count(log.String(), "\n"); got != logBurst-2 {
			t.Errorf("%d lines for a thousand refusals", got)
		}
		log.Reset()
		time.Sleep(logEvery) // bubble
		ask("https://evil.example")
		if !strings.Contains(log.String(), `"unlogged":997}`) {
			t.Errorf("later: %s", &log)
		}
		if got := testutil.ToFloat64(k.refused); got != 1003 {
			t.Errorf("counted %v", got)
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

package origin

import "testing"

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		origin   string
		want     bool
	}{
		{nil, "", true}, // not a page
		{nil, "https://api.example.com", true},
		{nil, "HTTPS://API.EXAMPLE.COM", true},
		{nil, "https://api.example.com:8443", false},
		{nil, "https://app.example.com", false},
		{nil, "null", false},
		{nil, "::", false},
		{[]string{"*"}, "https://anything.net", true},
		{[]string{"*"}, "null", true},
		{[]string{"https://app.example.com"}, "https://app.example.com", true},
		{[]string{"https://app.example.com/"}, "https://app.example.com", true},
		{[]string{"https://app.example.com"}, "http://app.example.com", false},
		{[]string{"https://app.example.com"}, "https://app.example.com.evil.net", false},
		{[]string{"app.example.com"}, "http://app.example.com", true},
		{[]string{" App.Example.com "}, "https://app.example.COM", true},
		{[]string{"localhost:3000"}, "http://localhost:3000", true},
		{[]string{"localhost:3000"}, "http://localhost:3001", false},
		{[]string{"*.example.com"}, "https://app.example.com", true},
		{[]string{"*.example.com"}, "https://example.com", false},
		{[]string{"*.example.com"}, "https://a.b.example.com", false},
		{[]string{"*.example.com"}, "https://evilexample.com", false},
		{[]string{"https://*.example.com"}, "https://app.example.com", true},
		{[]string{"https://*.example.com"}, "https://evil.net/.example.com", false},
		{[]string{"a.net", "b.net"}, "https://b.net", true},
	} {
		p, err := NewPolicy(c.patterns)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Allows(c.origin, "api.example.com"); got != c.want {
			t.Errorf("%v allows %q: %v", c.patterns, c.origin, got)
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for _, pattern := range []string{"", "ftp://x", "https://", "https://x/path", "x?y", "user@x", "[a-z].net"} {
		if _, err := NewPolicy([]string{pattern}); err == nil {
			t.Errorf("%q was accepted", pattern)
		}
	}
}

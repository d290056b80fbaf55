//go:build !race

package access_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// visitor is a client's address, with its X-Forwarded-For header, and its credential.
type visitor struct{ from, forwarded, credential string }

// admits makes a request, and reports whether the node admits it. If the node refuses the request for another reason
// than a rate, the test fails.
func admits(g *apptest.LoggedNode, r apptest.Request, v visitor) bool {
	g.T.Helper()
	g = g.From(v.from)
	if r.Method != "" {
		answer, text := g.Visit(r.Method, r.Path, r.Body, "Authorization", "Bearer "+v.credential, "X-Forwarded-For", v.forwarded)
		limited := answer.StatusCode == http.StatusTooManyRequests && answer.Header.Get("Retry-After") != ""
		if answer.StatusCode != http.StatusOK && !limited {
			g.T.Errorf("%s: %d %v %s", r, answer.StatusCode, answer.Header, text)
		}
		return !limited
	}
	s, _ := g.ConnectWith("X-Forwarded-For", v.forwarded)
	s.Send(apptest.JoinMessage(v.credential, r.Body))
	if m, _ := s.Next(); m.Type == protocol.TypeJoined {
		s.Send(`{"type":"leave"}`)
		s.Expect(protocol.TypeEnded)
		return true
	}
	s.Closed(protocol.CloseOverload)
	return false
}

// TestRatesAtEveryKindOfEndpoint checks which clients share a rate of one request a second.
func TestRatesAtEveryKindOfEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.AddressRate, c.SubjectRate = 1, 1
			c.TrustedProxies = []string{"10.0.0.0/8"}
		})
		of := func(p *apptest.Tenant, subject any) string { return p.Pass(map[string]any{"sub": subject}) }
		ana, bob := of(&apptest.FirstTenant, "ana"), of(&apptest.FirstTenant, "bob")
		for name, c := range map[string]struct {
			first, second visitor
			shared        bool
		}{
			"one address":               {visitor{"192.0.2.1:1", "", ana}, visitor{"192.0.2.1:2", "", bob}, true},
			"two addresses":             {visitor{"192.0.2.1:1", "", ana}, visitor{"192.0.2.2:1", "", bob}, false},
			"forged addresses":          {visitor{"192.0.2.1:1", "203.0.113.1", ana}, visitor{"192.0.2.1:1", "203.0.113.2", bob}, true},
			"two clients of a proxy":    {visitor{"10.1.2.3:1", "203.0.113.1", ana}, visitor{"10.1.2.3:1", "203.0.113.2", bob}, false},
			"one client of two proxies": {visitor{"10.1.2.3:1", "203.0.113.1", ana}, visitor{"10.9.9.9:1", "203.0.113.1", bob}, true},
			"one subject":               {visitor{"192.0.2.1:1", "", ana}, visitor{"192.0.2.2:1", "", ana}, true},
			"one name in two projects":  {visitor{"192.0.2.1:1", "", ana}, visitor{"192.0.2.2:1", "", of(&apptest.SecondTenant, "ana")}, false},
			"no subject":                {visitor{"192.0.2.1:1", "", of(&apptest.FirstTenant, nil)}, visitor{"192.0.2.2:1", "", of(&apptest.FirstTenant, nil)}, true},
		} {
			for _, r := range []apptest.Request{join(`"rtm":{"userId":"u"}`), apptest.Get("/rtm/ana"), apptest.Get("/v1/sessions")} {
				// After a minute, each client may make its full burst of requests again.
				time.Sleep(time.Minute) // bubble
				if first, second := admits(g, r, c.first), admits(g, r, c.second); !first || second == c.shared {
					t.Errorf("%s at %s: the first admitted: %t, the second: %t", name, r, first, second)
				}
				time.Sleep(1001 * time.Millisecond) // bubble
				if !admits(g, r, c.second) {
					t.Errorf("%s at %s: refused after a second", name, r)
				}
			}
		}
	})
}

// The same origins are allowed at all endpoints. Each refusal is counted once.
func TestOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.WithCredentials(c)
			c.AllowedOrigins = []string{"https://bücher.example:443", "*.example.com"}
		})
		for origin, want := range map[string]bool{
			"https://xn--bcher-kva.example":    true,
			"https://app.example.com":          true,
			"http://" + apptest.ServiceAddress: true,
			"https://app.example.com.evil.net": false,
			"null":                             false,
		} {
			before := g.Metrics()["refresher_origins_refused_total"]
			requests := 1
			if s, status := g.ConnectWith("Origin", origin); (s != nil) != want || s == nil && status != http.StatusForbidden {
				t.Errorf("%s: WebSocket %d", origin, status)
			} else if s != nil {
				_ = s.CloseNow()
			}
			allowed := ""
			if want {
				allowed = origin
			}
			for _, e := range endpoints {
				if e.Method == "" {
					continue
				}
				requests += 2
				r := e.with(&usual)
				answer, _ := g.Visit(r.Method, r.Path, r.Body, "Origin", origin)
				if got := answer.Header.Get("Access-Control-Allow-Origin"); got != allowed || !slices.Contains(answer.Header.Values("Vary"), "Origin") {
					t.Errorf("%s: %s allows %q", origin, r, got)
				}
				answer, _ = g.Visit("OPTIONS", r.Path, "", "Origin", origin, "Access-Control-Request-Method", r.Method)
				methods := answer.Header.Get("Access-Control-Allow-Methods")
				preflighted := r.Method != http.MethodHead // a browser sends no preflight for HEAD
				if got := answer.Header.Get("Access-Control-Allow-Origin"); got != allowed || preflighted && strings.Contains(methods, r.Method) != want {
					t.Errorf("%s: preflight of %s allows %q, %q", origin, r, got, methods)
				}
			}
			if want {
				requests = 0
			}
			if refused := g.Metrics()["refresher_origins_refused_total"] - before; refused != float64(requests) {
				t.Errorf("%s: %v refusals counted, want %d", origin, refused, requests)
			}
		}
	})
}

// The sizes of requests are limited for every caller.
func TestSizesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		for _, path := range []string{"/ping", "/rtm/ana", "/v1/sessions", "/v1/ws", "/v1/sessions/S/renew", "/nowhere"} {
			for size, refused := range map[int]bool{24 << 10: true, 12 << 10: false} {
				if r, _ := g.Visit("GET", path, "", "X-Filler", strings.Repeat("x", size)); (r.StatusCode == http.StatusRequestHeaderFieldsTooLarge) != refused {
					t.Errorf("%s with a header of %d bytes: %d", path, size, r.StatusCode)
				}
			}
		}
		before := g.Metrics()
		for _, e := range endpoints {
			if r := e.with(&usual); r.Body != "" && r.Method != "" {
				r.Body = strings.TrimSuffix(r.Body, "}") + strings.Repeat(" ", 9<<10) + "}"
				if a := g.Enter(r, apptest.Pass(nil)); a.Status != http.StatusBadRequest || !strings.Contains(a.Message, "body: want at most 8192 bytes") {
					t.Errorf("%s: %+v", e.Request, a)
				}
			}
		}
		if after := g.Metrics(); before["refresher_tokens_issued_total"] != after["refresher_tokens_issued_total"] || before["refresher_revocations"] != after["refresher_revocations"] {
			t.Error("a refused request had an effect")
		}
	})
}

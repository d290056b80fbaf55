//go:build !race

package access_test

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// tryJoin sends a join. It returns whether the node admitted it, and if not, the time after which to retry. It fails
// the test for any other answer.
func tryJoin(g *apptest.LoggedNode, credential string, header ...string) (taken bool, after time.Duration) {
	g.T.Helper()
	s, _ := g.ConnectWith(header...)
	defer func() { _ = s.CloseNow() }()
	s.Send(`{"type":"join","auth":"` + credential + `","rtm":{"userId":"u"}}`)
	_, data, err := s.Conn.Read(g.T.Context())
	var m struct {
		Type, Reason, Code string
		AfterMs            int64
	}
	if err == nil && json.Unmarshal(data, &m) == nil && m.Type == protocol.TypeError && m.Code == "unavailable" {
		m.Type = "" // the next message has the time to wait
		if _, data, err = s.Conn.Read(g.T.Context()); err == nil {
			err = json.Unmarshal(data, &m)
		}
	}
	switch {
	case err != nil:
		g.T.Errorf("no answer: %v", err)
	case m.Type == protocol.TypeJoined:
		s.Send(`{"type":"leave"}`)
		s.Expect(protocol.TypeEnded)
		s.Closed(protocol.CloseLeft)
		return true, 0
	case m.Type != protocol.TypeReconnect || m.Reason != protocol.ReasonOverload || m.AfterMs < 1 || m.AfterMs > 60_000:
		g.T.Errorf("answer %s", data)
	default:
		s.Closed(protocol.CloseOverload)
	}
	return false, time.Duration(m.AfterMs) * time.Millisecond
}

// tryVisit does for an HTTP endpoint what tryJoin does for a join.
func tryVisit(g *apptest.LoggedNode, e apptest.Request, credential string, header ...string) (taken bool, after time.Duration) {
	g.T.Helper()
	r, text := g.Visit(e.Method, e.Path, e.Body, append(header, "Authorization", "Bearer "+credential)...)
	if r.StatusCode == http.StatusOK {
		return true, 0
	}
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if r.StatusCode != http.StatusTooManyRequests || err != nil || seconds < 1 || !strings.Contains(text, `"code":"rate_limited"`) {
		g.T.Errorf("%s: %d %v %s", e, r.StatusCode, r.Header, text)
	}
	return false, time.Duration(seconds) * time.Second
}

var (
	rtmToken = apptest.Get("/rtm/ana")
	listing  = apptest.Get("/v1/sessions")
)

// A client that sends too many requests is admitted at exactly the configured rate, and a client
// that waits for the announced time is admitted then. This holds for addresses and for subjects, at
// all endpoints.
func TestRatesAreKept(t *testing.T) {
	const rate, seconds = 5, 10
	for name, set := range map[string]func(*app.Config){
		"address": func(c *app.Config) { c.AddressRate = rate },
		"subject": func(c *app.Config) { c.SubjectRate = rate },
	} {
		for way, try := range map[string]func(g *apptest.LoggedNode) (bool, time.Duration){
			"join":  func(g *apptest.LoggedNode) (bool, time.Duration) { return tryJoin(g, apptest.Pass(nil)) },
			"token": func(g *apptest.LoggedNode) (bool, time.Duration) { return tryVisit(g, rtmToken, apptest.Pass(nil)) },
			"list":  func(g *apptest.LoggedNode) (bool, time.Duration) { return tryVisit(g, listing, apptest.Pass(nil)) },
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := apptest.NewLoggedNode(t, func(c *app.Config) { apptest.WithCredentials(c); set(c) }).From("192.0.2.1:4711")
					taken := 0
					for range seconds * 20 {
						if ok, _ := try(g); ok {
							taken++
						}
						time.Sleep(time.Second / 20) // bubble
					}
					if taken < rate*seconds || taken > rate*(seconds+1) {
						t.Errorf("%d taken in %d s, at %d a second", taken, seconds, rate)
					}
					ok, after := true, time.Duration(0)
					for ok { // the rate may allow a few more requests by now
						ok, after = try(g)
					}
					time.Sleep(after) // bubble
					if ok, after := try(g); !ok {
						t.Errorf("told to wait for another %s", after)
					}
					for range seconds * rate {
						time.Sleep(time.Second / rate) // bubble
						if ok, after := try(g); !ok {
							t.Errorf("at the rate: told to wait for %s", after)
						}
					}
				})
			})
		}
	}
}

// TestSharesOfARate checks which clients share a rate.
func TestSharesOfARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addresses := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.WithCredentials(c)
			c.AddressRate = 1
			c.TrustedProxies = []string{"10.0.0.0/8", "fd00::1"}
		})
		const proxy, outsider = "10.1.2.3:80", "192.0.2.1:4711"
		for i, c := range []struct {
			first, second             string // the addresses from which two requests come
			firstClaims, secondClaims string // X-Forwarded-For
			shared                    bool
		}{
			{outsider, outsider, "", "", true},
			{outsider, "192.0.2.1:4712", "", "", true},
			{outsider, "[::ffff:192.0.2.1]:1", "", "", true},
			{outsider, "192.0.2.2:4711", "", "", false},
			{"[2001:db8::1]:1", "[2001:db8::ffff:1]:1", "", "", true}, // both are in one /64
			{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", "", "", false},
			// The header of an untrusted client is ignored.
			{outsider, outsider, "203.0.113.1", "203.0.113.2", true},
			{outsider, "192.0.2.2:1", "203.0.113.1", "203.0.113.1", false},
			// The header of a trusted proxy is believed.
			{proxy, proxy, "203.0.113.1", "203.0.113.2", false},
			{proxy, "10.9.9.9:1", "203.0.113.1", "203.0.113.1", true},
			{proxy, "[fd00::1]:1", "203.0.113.1", "203.0.113.1", true},
			{proxy, "[fd00::2]:1", "203.0.113.1", "203.0.113.1", false},
			// Entries that the proxy's client wrote are ignored.
			{proxy, proxy, "6.6.6.6, 203.0.113.1", "7.7.7.7, 203.0.113.1", true},
			{proxy, proxy, "203.0.113.1, 10.3.3.3", "203.0.113.2, 10.3.3.3", false},
			{proxy, proxy, "garbage", "rubbish", true},
			{proxy, proxy, "", "", true},
		} {
			header := func(claims string) []string {
				if claims == "" {
					return nil
				}
				return []string{"X-Forwarded-For", claims}
			}
			for _, way := range []string{"join", "token"} {
				time.Sleep(time.Minute) // bubble: all rates are back at their full burst
				try := func(from, claims string) bool {
					g := addresses.From(from)
					if way == "join" {
						ok, _ := tryJoin(g, apptest.Pass(nil), header(claims)...)
						return ok
					}
					ok, _ := tryVisit(g, rtmToken, apptest.Pass(nil), header(claims)...)
					return ok
				}
				if first, second := try(c.first, c.firstClaims), try(c.second, c.secondClaims); !first || second == c.shared {
					t.Errorf("case %d, %+v, by %s: the first taken: %t, the second: %t", i, c, way, first, second)
				}
			}
		}
	})

	synctest.Test(t, func(t *testing.T) {
		subjects := apptest.NewLoggedNode(t, func(c *app.Config) { apptest.TwoProjects(c); c.SubjectRate = 1 })
		sub := func(p *apptest.Tenant, name any) func() string {
			return func() string { return p.Pass(map[string]any{"sub": name}) }
		}
		ana := sub(&apptest.FirstTenant, "ana")
		for i, c := range []struct {
			first, second func() string
			shared        bool
		}{
			{ana, ana, true},
			{ana, sub(&apptest.FirstTenant, "bob"), false},
			{ana, sub(&apptest.FirstTenant, "Ana"), false},
			{ana, sub(&apptest.SecondTenant, "ana"), false},
			{ana, sub(&apptest.FirstTenant, nil), false},
			{sub(&apptest.FirstTenant, nil), sub(&apptest.FirstTenant, ""), true}, // credentials without a subject share one rate
			{sub(&apptest.FirstTenant, nil), sub(&apptest.SecondTenant, nil), false},
			// Requests with an invalid credential do not use up a subject's rate.
			{func() string { return apptest.SignWith(apptest.OtherSecret, apptest.GoodClaims(nil)) }, ana, false},
		} {
			time.Sleep(time.Minute) // bubble
			subjects.From("192.0.2.1:1").Visit("GET", "/rtm/ana", "", "Authorization", "Bearer "+c.first())
			if ok, _ := tryVisit(subjects.From("192.0.2.2:1"), rtmToken, c.second()); ok == c.shared {
				t.Errorf("case %d: the second taken: %t", i, ok)
			}
		}
	})
}

// Many clients that connect at once and obey the announced delays are all admitted, at the node's
// rate, and every attempt gets an answer.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd, rate = 200, 10
		g := apptest.NewLoggedNode(t, func(c *app.Config) { apptest.WithCredentials(c); c.JoinRate = rate })
		start := time.Now()
		due := make([]time.Duration, crowd) // times of the next attempts
		tries := 0
		for len(due) > 0 {
			slices.Sort(due)
			time.Sleep(due[0] - time.Since(start)) // bubble
			tries++
			if taken, after := tryJoin(g, apptest.Pass(nil)); taken {
				due = due[1:]
			} else {
				due[0] = time.Since(start) + after
			}
		}
		took := time.Since(start)
		if least := time.Duration(crowd/rate-1) * time.Second; took < least-time.Second || took > least+40*time.Second {
			t.Errorf("let in within %s", took)
		}
		t.Logf("%d clients let in within %s, after %.1f tries each", crowd, took, float64(tries)/crowd)
	})
}

// Forged resumes at three times the node's join rate do not delay valid clients.
func TestMadeUpResumesKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 20
		g := apptest.NewLoggedNode(t, func(c *app.Config) { apptest.WithCredentials(c); c.JoinRate = rate })
		for range 28 {
			for range 3 * rate / 7 {
				s, _ := g.ConnectWith()
				s.Send(`{"type":"resume","session":"x","key":"x","expiresAt":1}`)
				s.Expect(protocol.TypeError)
				s.Closed(protocol.CloseUnknownSession)
			}
			if taken, after := tryJoin(g, apptest.Pass(nil)); !taken {
				t.Fatalf("told to wait for %s", after)
			}
			time.Sleep(time.Second / 7) // bubble
		}
	})
}

// A node at --max-sessions refuses joins, with the time after which to retry. It admits resumes.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) { apptest.WithCredentials(c); c.MaxSessions = 1 })
		h := apptest.FirstTenant.Open(g, nil)
		taken, after := tryJoin(g, apptest.Pass(nil))
		if taken || after < time.Second {
			t.Errorf("taken: %t, or told to come back after %s", taken, after)
		}
		if ok, _ := tryVisit(g, rtmToken, apptest.Pass(nil)); !ok {
			t.Error("a token without a session needs no room")
		}
		h.Lose()
		if !h.Back() {
			t.Error("a return was not taken")
		}
		h.Leave()
		if ok, _ := tryJoin(g, apptest.Pass(nil)); !ok {
			t.Error("there is room again")
		}
	})
}

func TestHungUpSessionsKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 200
		g := apptest.NewLoggedNode(t, func(c *app.Config) { apptest.WithCredentials(c); c.MaxSessions, c.SubjectRate = room, 0 })
		eve := apptest.Pass(map[string]any{"sub": "eve"})
		var first apptest.Message
		for i := range room + 1 {
			s, _ := g.ConnectWith()
			s.Send(`{"type":"join","auth":"` + eve + `","rtm":{"userId":"u"},"ttl":86400}`)
			joined := s.Expect(protocol.TypeJoined)
			_ = s.CloseNow()
			synctest.Wait()
			if i == 0 {
				first = joined
			}
		}
		if taken, after := tryJoin(g, apptest.Pass(map[string]any{"sub": "ana"})); !taken {
			t.Errorf("told to come back after %s", after)
		}
		if n := g.Metrics()["refresher_sessions"]; n > room {
			t.Errorf("%v sessions are kept", n)
		}
		s, _ := g.ConnectWith()
		s.Send(`{"type":"resume","session":"` + first.Session + `","key":"` + first.Key + `","seq":1}`)
		if again := s.Expect(protocol.TypeJoined); again.Session != first.Session {
			t.Errorf("one that gave way is back as %+v", again)
		}
	})
}

// While the back end cannot be reached, callers are told after which time to retry. The test uses real sockets, because
// the back end is called over HTTP.
func TestBackEndThatCannotBeAsked(t *testing.T) {
	g := apptest.StartLoggedNode(t, func(c *app.Config) {
		apptest.WithCredentials(c)
		c.Authorize.URL, c.Authorize.Secret, c.Authorize.Timeout = "http://127.0.0.1:1/", "signs the requests of a test", time.Second
	}, app.Outside{}, (&net.Dialer{}).DialContext)
	if taken, after := tryJoin(g, apptest.Pass(nil)); taken || after < time.Second {
		t.Errorf("taken: %t, or told to come back after %s", taken, after)
	}
	if r, text := g.Visit("GET", "/rtm/ana", "", "Authorization", "Bearer "+apptest.Pass(nil)); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.StatusCode, text)
	}
	if issued := g.Metrics()["refresher_tokens_issued_total"]; issued != 0 {
		t.Errorf("%v tokens minted", issued)
	}
}

// The same origins are allowed at all endpoints.
func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		allowed   []string
		good, bad []string
	}{
		{nil, []string{"", "http://" + apptest.ServiceAddress, "https://" + apptest.ServiceAddress}, []string{"https://app.example.com", "null", "http://127.0.0.1"}},
		{
			[]string{"https://app.example.com"},
			[]string{"", "https://app.example.com", "https://APP.example.com", "http://" + apptest.ServiceAddress},
			[]string{"http://app.example.com", "https://app.example.com:8443", "https://xapp.example.com", "https://app.example.com.evil.net", "https://app.example.co", "null"},
		},
		{
			[]string{"*.example.com", "other.example.net"},
			[]string{"https://app.example.com", "http://b.example.com", "https://other.example.net"},
			[]string{"https://example.com", "https://a.b.example.com", "https://app.example.com.evil.net", "https://evilexample.com", "https://an.other.example.net"},
		},
		{[]string{"*"}, []string{"https://app.example.com", "null", "http://anything"}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := apptest.NewLoggedNode(t, func(conf *app.Config) { apptest.WithCredentials(conf); conf.AllowedOrigins = c.allowed })
			check := func(origin string, want bool) {
				t.Helper()
				header := []string{"Origin", origin}
				if origin == "" {
					header = nil
				}
				s, status := g.ConnectWith(header...)
				if (s != nil) != want || s == nil && status != http.StatusForbidden {
					t.Errorf("%q from %q: WebSocket %d", c.allowed, origin, status)
				}
				if s != nil {
					_ = s.CloseNow()
				}
				for _, e := range endpoints(nothing) {
					if e.Method == "" || origin == "" {
						continue
					}
					r, _ := g.Visit(e.Method, e.Path, e.Body, "Origin", origin)
					if got := r.Header.Get("Access-Control-Allow-Origin"); (got == origin) != want || !want && got != "" || !slices.Contains(r.Header.Values("Vary"), "Origin") {
						t.Errorf("%q from %q: %s allows %q", c.allowed, origin, e, got)
					}
					if got := r.Header.Get("Access-Control-Expose-Headers"); (got == "Retry-After") != want || !want && got != "" {
						t.Errorf("%q from %q: %s shows the headers %q", c.allowed, origin, e, got)
					}
					r, _ = g.Visit("OPTIONS", e.Path, "", "Origin", origin, "Access-Control-Request-Method", e.Method, "Access-Control-Request-Headers", "authorization")
					methods, headers := r.Header.Get("Access-Control-Allow-Methods"), r.Header.Get("Access-Control-Allow-Headers")
					asked := e.Method != http.MethodHead // a preflight does not name HEAD, which is always allowed
					if asked && strings.Contains(methods, e.Method) != want || strings.Contains(headers, "Authorization") != want {
						t.Errorf("%q from %q: preflight of %s allows %q, %q", c.allowed, origin, e, methods, headers)
					}
					if r.Header.Get("Access-Control-Allow-Credentials") != "" {
						t.Errorf("cookies allowed by %s", e)
					}
				}
			}
			for _, origin := range c.good {
				check(origin, true)
			}
			for _, origin := range c.bad {
				check(origin, false)
			}
		})
	}
}

// The sizes of requests are limited for every caller.
func TestSizesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		g.Log.Take()
		for _, path := range []string{"/ping", "/rtm/ana", "/v1/sessions", "/v1/ws", "/v1/sessions/S/renew", "/v1/sessions/S/leave", "/nowhere"} {
			if r, _ := g.Visit("GET", path, "", "X-Filler", strings.Repeat("x", 24<<10)); r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s with a header of 24 KiB: %d", path, r.StatusCode)
			}
			if r, _ := g.Visit("GET", path, "", "X-Filler", strings.Repeat("x", 12<<10)); r.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s with a header of 12 KiB: %d", path, r.StatusCode)
			}
		}
		if r, _ := g.Visit("GET", "/"+strings.Repeat("x", 24<<10), ""); r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a path of 24 KiB: %d", r.StatusCode)
		}
		before := g.Metrics()
		bodies := 0
		for _, e := range endpoints(nothing) { // TestRenewOverHTTP and TestLeaveOverHTTPIsRefused test the endpoints for resume keys
			if e.Method != http.MethodPost && e.Method != http.MethodPatch {
				continue
			}
			bodies++
			// Valid JSON, so that only the length is wrong.
			for _, filler := range []string{strings.Repeat(" ", 9<<10), `,"x":"` + strings.Repeat("x", 100<<10) + `"`} {
				body := strings.TrimSuffix(e.Body, "}") + filler + "}"
				if e.Body == "{}" && filler[0] == ',' {
					body = "{" + filler[1:] + "}"
				}
				r, text := g.Visit(e.Method, e.Path, body, "Authorization", "Bearer "+apptest.Pass(nil))
				if r.StatusCode != http.StatusBadRequest || !strings.Contains(text, "body: want at most 8192 bytes") {
					t.Errorf("%s with %d bytes: %d %s", &e, len(body), r.StatusCode, text)
				}
			}
		}
		if bodies != 11 {
			t.Errorf("%d endpoints with bodies", bodies)
		}
		after := g.Metrics()
		if before["refresher_tokens_issued_total"] != after["refresher_tokens_issued_total"] || before["refresher_revocations"] != after["refresher_revocations"] {
			t.Error("what was refused was done")
		}
	})
}

// A refused page is logged and counted once, by whichever endpoint it was refused.
func TestRefusedOriginsAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			c.AllowedOrigins = []string{"capacitor://localhost", "https://bücher.example:443"}
		})
		refused := func() float64 { return g.Metrics()["refresher_origins_refused_total"] }
		for _, from := range []string{"capacitor://localhost", "https://xn--bcher-kva.example"} {
			if s, status := g.ConnectWith("Origin", from); s == nil {
				t.Errorf("%s: WebSocket %d", from, status)
			} else {
				_ = s.CloseNow()
			}
			if r, _ := g.Visit("GET", "/rtm/ana", "", "Origin", from); r.Header.Get("Access-Control-Allow-Origin") != from {
				t.Errorf("%s: HTTP %v", from, r.Header)
			}
		}
		if n := refused(); n != 0 {
			t.Errorf("%v were counted", n)
		}
		for i, ask := range []func(){
			func() { g.ConnectWith("Origin", "https://evil.example") },
			func() { g.Visit("GET", "/rtm/ana", "", "Origin", "https://evil.example") },
			func() { g.Visit("GET", "/v1/ws", "", "Origin", "https://evil.example") },
			func() { g.Visit("OPTIONS", "/rtm/ana", "", "Origin", "https://evil.example") },
			func() { g.Visit("POST", "/v1/revocations", "", "Origin", "https://evil.example") },
		} {
			g.Log.Take()
			ask()
			if n, log := refused(), g.Log.Take(); n != float64(i+1) || !strings.Contains(log, "origin=https://evil.example host="+apptest.ServiceAddress+" allowed=\"[capacitor://localhost ") {
				t.Errorf("request %d: counted %v: %s", i, n, log)
			}
		}
	})
}

package app

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
)

// addressed is the server's end of a connection whose client has an address.
type addressed struct {
	net.Conn
	from addr
}

func (c addressed) RemoteAddr() net.Addr { return c.from }

// from is the same service, seen from an address. It is for bubbles.
func (g *guarded) from(address string) *guarded {
	visitor := *g
	visitor.dial = func(ctx context.Context, _, to string) (net.Conn, error) {
		p := g.network.port(to)
		if p == nil {
			return nil, errors.New("connection refused")
		}
		ours, theirs := net.Pipe()
		select {
		case p.accepted <- addressed{theirs, addr(address)}:
			return newCable(ours, p.address), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &visitor
}

// knockWith opens a WebSocket with headers, or says why it was not.
func (g *guarded) knockWith(header ...string) (*socket, int) {
	g.t.Helper()
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		if header[i] != "" {
			h.Add(header[i], header[i+1])
		}
	}
	c, response, err := websocket.Dial(g.t.Context(), "ws://"+g.app.Addr().String()+"/v1/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: g.transport()}, HTTPHeader: h,
	})
	if err != nil {
		if response == nil {
			g.t.Fatal(err)
		}
		return nil, response.StatusCode
	}
	g.t.Cleanup(func() { _ = c.CloseNow() })
	return &socket{c, g.t}, http.StatusSwitchingProtocols
}

// tryJoin asks to join and reports whether that was taken, or when to come back. It
// demands that one or the other is said, with the code that goes with it.
func (g *guarded) tryJoin(credential string, header ...string) (taken bool, after time.Duration) {
	g.t.Helper()
	s, _ := g.knockWith(header...)
	defer func() { _ = s.CloseNow() }()
	s.send(`{"type":"join","auth":"` + credential + `","rtm":{"userId":"u"}}`)
	_, data, err := s.Conn.Read(g.t.Context())
	var m struct {
		Type, Reason, Code string
		AfterMs            int64
	}
	if err == nil && json.Unmarshal(data, &m) == nil && m.Type == protocol.TypeError && m.Code == "unavailable" {
		m.Type = "" // the time follows
		if _, data, err = s.Conn.Read(g.t.Context()); err == nil {
			err = json.Unmarshal(data, &m)
		}
	}
	switch {
	case err != nil:
		g.t.Errorf("no answer: %v", err)
	case m.Type == protocol.TypeJoined:
		s.send(`{"type":"leave"}`)
		s.expect(protocol.TypeEnded)
		s.closed(protocol.CloseLeft)
		return true, 0
	case m.Type != protocol.TypeReconnect || m.Reason != protocol.ReasonOverload || m.AfterMs < 1 || m.AfterMs > 60_000:
		g.t.Errorf("answer %s", data)
	default:
		s.closed(protocol.CloseOverload)
	}
	return false, time.Duration(m.AfterMs) * time.Millisecond
}

// tryVisit does the same for an endpoint.
func (g *guarded) tryVisit(e *entrance, credential string, header ...string) (taken bool, after time.Duration) {
	g.t.Helper()
	r, text := g.visit(e.method, e.path, e.body, append(header, "Authorization", "Bearer "+credential)...)
	if r.StatusCode == http.StatusOK {
		return true, 0
	}
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if r.StatusCode != http.StatusTooManyRequests || err != nil || seconds < 1 || !strings.Contains(text, `"code":"rate_limited"`) {
		g.t.Errorf("%s: %d %v %s", e, r.StatusCode, r.Header, text)
	}
	return false, time.Duration(seconds) * time.Second
}

var (
	rtmToken = entrance{method: "GET", path: "/rtm/ana"}
	listing  = entrance{method: "GET", path: "/v1/sessions"}
)

// Who hammers gets what the rate gives, no more and no less, and who waits for as
// long as it is told is taken then. That goes for addresses and subjects alike, and
// for all ways to ask.
func TestRatesAreKept(t *testing.T) {
	const rate, seconds = 5, 10
	for name, set := range map[string]func(*Config){
		"address": func(c *Config) { c.AddressRate = rate },
		"subject": func(c *Config) { c.SubjectRate = rate },
	} {
		for way, try := range map[string]func(g *guarded) (bool, time.Duration){
			"join":  func(g *guarded) (bool, time.Duration) { return g.tryJoin(pass(nil)) },
			"token": func(g *guarded) (bool, time.Duration) { return g.tryVisit(&rtmToken, pass(nil)) },
			"list":  func(g *guarded) (bool, time.Duration) { return g.tryVisit(&listing, pass(nil)) },
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGuarded(t, func(c *Config) { guard(c); set(c) }).from("192.0.2.1:4711")
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
					for ok { // one may just be due
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

// Whose share it is that is used up.
func TestSharesOfARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addresses := newGuarded(t, func(c *Config) {
			guard(c)
			c.AddressRate = 1
			c.TrustedProxies = []string{"10.0.0.0/8", "fd00::1"}
		})
		const proxy, outsider = "10.1.2.3:80", "192.0.2.1:4711"
		for i, c := range []struct {
			first, second             string // addresses of connections
			firstClaims, secondClaims string // X-Forwarded-For
			shared                    bool
		}{
			{outsider, outsider, "", "", true},
			{outsider, "192.0.2.1:4712", "", "", true},
			{outsider, "[::ffff:192.0.2.1]:1", "", "", true},
			{outsider, "192.0.2.2:4711", "", "", false},
			{"[2001:db8::1]:1", "[2001:db8::ffff:1]:1", "", "", true}, // of one /64
			{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", "", "", false},
			// What an outsider says of itself does not count.
			{outsider, outsider, "203.0.113.1", "203.0.113.2", true},
			{outsider, "192.0.2.2:1", "203.0.113.1", "203.0.113.1", false},
			// What a proxy says does.
			{proxy, proxy, "203.0.113.1", "203.0.113.2", false},
			{proxy, "10.9.9.9:1", "203.0.113.1", "203.0.113.1", true},
			{proxy, "[fd00::1]:1", "203.0.113.1", "203.0.113.1", true},
			{proxy, "[fd00::2]:1", "203.0.113.1", "203.0.113.1", false},
			// But not what its client had written before.
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
				time.Sleep(time.Minute) // bubble: everybody may again
				try := func(from, claims string) bool {
					g := addresses.from(from)
					if way == "join" {
						ok, _ := g.tryJoin(pass(nil), header(claims)...)
						return ok
					}
					ok, _ := g.tryVisit(&rtmToken, pass(nil), header(claims)...)
					return ok
				}
				if first, second := try(c.first, c.firstClaims), try(c.second, c.secondClaims); !first || second == c.shared {
					t.Errorf("case %d, %+v, by %s: the first taken: %t, the second: %t", i, c, way, first, second)
				}
			}
		}
	})

	synctest.Test(t, func(t *testing.T) {
		subjects := newGuarded(t, func(c *Config) { two(c); c.SubjectRate = 1 })
		sub := func(p *tenant, name any) func() string {
			return func() string { return p.pass(map[string]any{"sub": name}) }
		}
		ana := sub(&firstTenant, "ana")
		for i, c := range []struct {
			first, second func() string
			shared        bool
		}{
			{ana, ana, true},
			{ana, sub(&firstTenant, "bob"), false},
			{ana, sub(&firstTenant, "Ana"), false},
			{ana, sub(&secondTenant, "ana"), false},
			{ana, sub(&firstTenant, nil), false},
			{sub(&firstTenant, nil), sub(&firstTenant, ""), true}, // nobody in particular is one
			{sub(&firstTenant, nil), sub(&secondTenant, nil), false},
			// Who has no good credential uses up nobody's share.
			{func() string { return signWith(otherSecret, goodClaims(nil)) }, ana, false},
		} {
			time.Sleep(time.Minute) // bubble
			subjects.from("192.0.2.1:1").visit("GET", "/rtm/ana", "", "Authorization", "Bearer "+c.first())
			if ok, _ := subjects.from("192.0.2.2:1").tryVisit(&rtmToken, c.second()); ok == c.shared {
				t.Errorf("case %d: the second taken: %t", i, ok)
			}
		}
	})
}

// A crowd that comes at once, and obeys, is let in at the node's rate to the last
// one, and each is told something each time.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd, rate = 200, 10
		g := newGuarded(t, func(c *Config) { guard(c); c.JoinRate = rate })
		start := time.Now()
		due := make([]time.Duration, crowd) // when each comes
		tries := 0
		for len(due) > 0 {
			slices.Sort(due)
			time.Sleep(due[0] - time.Since(start)) // bubble
			tries++
			if taken, after := g.tryJoin(pass(nil)); taken {
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

// Three times as many made-up resumes as the node takes keep nobody out.
func TestMadeUpResumesKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 20
		g := newGuarded(t, func(c *Config) { guard(c); c.JoinRate = rate })
		for range 28 {
			for range 3 * rate / 7 {
				s, _ := g.knockWith()
				s.send(`{"type":"resume","session":"x","key":"x","expiresAt":1}`)
				s.expect(protocol.TypeError)
				s.closed(protocol.CloseUnknownSession)
			}
			if taken, after := g.tryJoin(pass(nil)); !taken {
				t.Fatalf("told to wait for %s", after)
			}
			time.Sleep(time.Second / 7) // bubble
		}
	})
}

// A node without room says so, and when to come back; who has a session is let in.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, func(c *Config) { guard(c); c.MaxSessions = 1 })
		h := firstTenant.open(g, nil)
		taken, after := g.tryJoin(pass(nil))
		if taken || after < time.Second {
			t.Errorf("taken: %t, or told to come back after %s", taken, after)
		}
		if ok, _ := g.tryVisit(&rtmToken, pass(nil)); !ok {
			t.Error("a token without a session needs no room")
		}
		h.lose()
		if !h.back() {
			t.Error("a return was not taken")
		}
		h.leave()
		if ok, _ := g.tryJoin(pass(nil)); !ok {
			t.Error("there is room again")
		}
	})
}

// Sessions that their clients have hung up on keep nobody out, and no more of them are
// kept than there may be.
func TestHungUpSessionsKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 200
		g := newGuarded(t, func(c *Config) { guard(c); c.MaxSessions, c.SubjectRate = room, 0 })
		eve := pass(map[string]any{"sub": "eve"})
		var first message
		for i := range room + 1 {
			s, _ := g.knockWith()
			s.send(`{"type":"join","auth":"` + eve + `","rtm":{"userId":"u"},"ttl":86400}`)
			joined := s.expect(protocol.TypeJoined)
			_ = s.CloseNow()
			synctest.Wait()
			if i == 0 {
				first = joined
			}
		}
		if taken, after := g.tryJoin(pass(map[string]any{"sub": "ana"})); !taken {
			t.Errorf("told to come back after %s", after)
		}
		if n := g.metrics()["refresher_sessions"]; n > room {
			t.Errorf("%v sessions are kept", n)
		}
		s, _ := g.knockWith()
		s.send(`{"type":"resume","session":"` + first.Session + `","key":"` + first.Key + `","seq":1}`)
		if again := s.expect(protocol.TypeJoined); again.Session != first.Session {
			t.Errorf("one that gave way is back as %+v", again)
		}
	})
}

// While the back end cannot be asked, callers are told when to come back. Over real
// sockets, as it is asked.
func TestBackEndThatCannotBeAsked(t *testing.T) {
	g := startGuarded(t, func(c *Config) {
		guard(c)
		c.AuthorizeURL, c.AuthorizeSecret, c.AuthorizeTimeout = "http://127.0.0.1:1/", "signs the questions of a test", time.Second
	}, Outside{}, (&net.Dialer{}).DialContext)
	if taken, after := g.tryJoin(pass(nil)); taken || after < time.Second {
		t.Errorf("taken: %t, or told to come back after %s", taken, after)
	}
	if r, text := g.visit("GET", "/rtm/ana", "", "Authorization", "Bearer "+pass(nil)); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.StatusCode, text)
	}
	if issued := g.metrics()["refresher_tokens_issued_total"]; issued != 0 {
		t.Errorf("%v tokens minted", issued)
	}
}

// One rule says which pages may talk to the service, by whichever way.
func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		allowed   []string
		good, bad []string
	}{
		{nil, []string{"", "http://" + serviceAddress, "https://" + serviceAddress}, []string{"https://app.example.com", "null", "http://127.0.0.1"}},
		{
			[]string{"https://app.example.com"},
			[]string{"", "https://app.example.com", "https://APP.example.com", "http://" + serviceAddress},
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
			g := newGuarded(t, func(conf *Config) { guard(conf); conf.AllowedOrigins = c.allowed })
			check := func(origin string, want bool) {
				t.Helper()
				header := []string{"Origin", origin}
				if origin == "" {
					header = nil
				}
				s, status := g.knockWith(header...)
				if (s != nil) != want || s == nil && status != http.StatusForbidden {
					t.Errorf("%q from %q: WebSocket %d", c.allowed, origin, status)
				}
				if s != nil {
					_ = s.CloseNow()
				}
				for i := range entrances {
					e := &entrances[i]
					if e.method == "" || origin == "" {
						continue
					}
					r, _ := g.visit(e.method, e.path, e.body, "Origin", origin)
					if got := r.Header.Get("Access-Control-Allow-Origin"); (got == origin) != want || !want && got != "" || !slices.Contains(r.Header.Values("Vary"), "Origin") {
						t.Errorf("%q from %q: %s allows %q", c.allowed, origin, e, got)
					}
					if got := r.Header.Get("Access-Control-Expose-Headers"); (got == "Retry-After") != want || !want && got != "" {
						t.Errorf("%q from %q: %s shows the headers %q", c.allowed, origin, e, got)
					}
					r, _ = g.visit("OPTIONS", e.path, "", "Origin", origin, "Access-Control-Request-Method", e.method, "Access-Control-Request-Headers", "authorization")
					methods, headers := r.Header.Get("Access-Control-Allow-Methods"), r.Header.Get("Access-Control-Allow-Headers")
					asked := e.method != http.MethodHead // which needs no leave
					if asked && strings.Contains(methods, e.method) != want || strings.Contains(headers, "Authorization") != want {
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

// Requests are bounded, whoever makes them.
func TestSizesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, guard)
		g.log.take()
		for _, path := range []string{"/ping", "/rtm/ana", "/v1/sessions", "/v1/ws", "/v1/sessions/S/renew", "/nowhere"} {
			if r, _ := g.visit("GET", path, "", "X-Filler", strings.Repeat("x", 24<<10)); r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s with a header of 24 KiB: %d", path, r.StatusCode)
			}
			if r, _ := g.visit("GET", path, "", "X-Filler", strings.Repeat("x", 12<<10)); r.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s with a header of 12 KiB: %d", path, r.StatusCode)
			}
		}
		if r, _ := g.visit("GET", "/"+strings.Repeat("x", 24<<10), ""); r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a path of 24 KiB: %d", r.StatusCode)
		}
		before := g.metrics()
		bodies := 0
		for _, e := range entrances { // and the renewal: TestRenewOverHTTP
			if e.method != "POST" && e.method != "PATCH" {
				continue
			}
			bodies++
			// Well formed, so that nothing but the length is wrong.
			for _, filler := range []string{strings.Repeat(" ", 9<<10), `,"x":"` + strings.Repeat("x", 100<<10) + `"`} {
				body := strings.TrimSuffix(e.body, "}") + filler + "}"
				if e.body == "{}" && filler[0] == ',' {
					body = "{" + filler[1:] + "}"
				}
				r, text := g.visit(e.method, e.path, body, "Authorization", "Bearer "+pass(nil))
				if r.StatusCode != http.StatusBadRequest || !strings.Contains(text, "body: want at most 8192 bytes") {
					t.Errorf("%s with %d bytes: %d %s", &e, len(body), r.StatusCode, text)
				}
			}
		}
		if bodies != 11 {
			t.Errorf("%d endpoints with bodies", bodies)
		}
		after := g.metrics()
		if before["refresher_tokens_issued_total"] != after["refresher_tokens_issued_total"] || before["refresher_revocations"] != after["refresher_revocations"] {
			t.Error("what was refused was done")
		}
	})
}

// TestSlowClientsAreCut has clients that keep a connection busy and get nowhere.
// Each is cut off in time, and nobody else waits for it.
func TestSlowClientsAreCut(t *testing.T) {
	const upgrade = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	const endless = "Content-Length: 5000\r\n\r\n{"
	hello := frame(join)
	for name, c := range map[string]struct {
		first, drip string        // sent at once; and byte by byte, again and again
		every       time.Duration // between two bytes
		most        time.Duration // by then it is gone
	}{
		"not a word":      {"", "", 0, 11 * time.Second},
		"one byte":        {"G", "", 0, 11 * time.Second},
		"headers":         {"GET /ping HTTP/1.1\r\nHost: x\r\n", "X: x\r\n", time.Second, 11 * time.Second},
		"one long header": {"GET /ping HTTP/1.1\r\nHost: x\r\nX: ", "x", time.Second / 10, 11 * time.Second},
		"a body":          {"POST /getToken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $CREDENTIAL\r\n" + endless, " ", time.Second, 31 * time.Second},
		"chunks":          {"POST /getToken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $CREDENTIAL\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", time.Second, 31 * time.Second},
		// Nobody's body.
		"no credential":      {"POST /getToken HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"chunks by nobody":   {"POST /getToken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", time.Second / 10, 2 * time.Second},
		"a bad credential":   {"POST /v1/revocations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"no renewal's key":   {"POST /v1/sessions/S/renew HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a made-up key":      {"POST /v1/sessions/S/renew HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a body of a GET":    {"GET /ping HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a body of no path":  {"POST /nowhere HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a body of no hello": {"POST /v1/ws HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"nothing after":      {"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", "", 0, 651 * time.Second},
		"no join":            {upgrade, "", 0, 20 * time.Second},
		"half a join":        {upgrade + string(hello[:20]), "", 0, 20 * time.Second},
		"a join in drips":    {upgrade + string(hello[:6]), " ", time.Second, 20 * time.Second},
		"pings and no end":   {upgrade, string([]byte{0x89, 0x80, 0, 0, 0, 0}), time.Second, 20 * time.Second},
	} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, secured), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGuarded(t, func(conf *Config) {
						guard(conf)
						if secured {
							conf.TLSCertFile, conf.TLSKeyFile = newCertificateFiles(t, "calls.test")
						}
					})
					c := c
					c.first = strings.Replace(c.first, "$CREDENTIAL", pass(nil), 1)
					conn, err := g.network.dial(t.Context(), "", serviceAddress)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					if secured && c.first != "" && c.first != "G" { // those two never get to speak TLS
						conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
					}
					start := time.Now()
					gone := make(chan time.Duration)
					go func() {
						_, _ = io.Copy(io.Discard, conn) // it ends
						gone <- time.Since(start)
					}()
					stop := make(chan struct{})
					dripped := make(chan struct{})
					go func() {
						defer close(dripped)
						_, err := io.WriteString(conn, c.first)
						for i := 0; err == nil && c.drip != ""; i++ {
							select {
							case <-time.After(c.every):
								_, err = io.WriteString(conn, c.drip[i%len(c.drip):][:1])
							case <-stop:
								return
							}
						}
					}()
					var took time.Duration
					select {
					case took = <-gone:
						_ = conn.Close()
					case <-time.After(time.Hour):
						_ = conn.Close()
						took = <-gone
					}
					close(stop)
					<-dripped
					if took > c.most {
						t.Errorf("cut off after %s", took)
					}
					if n := g.metrics()["refresher_sessions"]; n != 0 {
						t.Errorf("%v sessions", n)
					}
				})
			})
		}
	}
}

// A client that does not read its answer is cut off as well.
func TestClientThatDoesNotReadIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, guard)
		conn, err := g.network.dial(t.Context(), "", serviceAddress)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * time.Second) // bubble: 30 s are for an answer
		if text, err := io.ReadAll(conn); err != nil || len(text) != 0 {
			t.Errorf("it still had %q, %v", text, err)
		}
	})
}

// newCertificateFiles makes a certificate for a host, and names its two files.
func newCertificateFiles(t *testing.T, host string) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, host, certificate, key)
	return certificate, key
}

func writeCertificate(t *testing.T, host, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTLSByFiles serves by TLS over a real socket, with a certificate that is renewed
// meanwhile.
func TestTLSByFiles(t *testing.T) {
	certificate, key := newCertificateFiles(t, "calls.test")
	g := startGuarded(t, func(c *Config) {
		guard(c)
		c.TLSCertFile, c.TLSKeyFile = certificate, key
	}, Outside{}, nil)
	// client trusts what is in the file now.
	client := func() *http.Client {
		text, err := os.ReadFile(certificate)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		return &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "calls.test"},
		}}
	}
	get := func(client *http.Client) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+g.app.Addr().String()+"/rtm/ana", nil)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+pass(nil))
		response, err := client.Do(r)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}
	first := client()
	if err := get(first); err != nil {
		t.Error(err)
	}
	c, _, err := websocket.Dial(t.Context(), "wss://"+g.app.Addr().String()+"/v1/ws", &websocket.DialOptions{HTTPClient: first})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	s := &socket{c, t}
	s.send(`{"type":"join","auth":"` + pass(nil) + `","rtm":{"userId":"u"}}`)
	s.expect(protocol.TypeJoined)

	// In the clear nobody gets anything.
	plain, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.app.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := io.WriteString(plain, "GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(plain); err != nil || strings.Contains(string(said), "pong") {
		t.Errorf("in the clear: %q, %v", said, err)
	}

	writeCertificate(t, "calls.test", certificate, key)
	second := client()
	g.reloads <- syscall.SIGHUP
	g.log.await("has changed and was read again")
	if err := get(second); err != nil {
		t.Error(err)
	}
	if err := get(first); err == nil {
		t.Error("the old certificate is still in use")
	}
	// Who is connected stays so.
	s.send(`{"type":"ping"}`)
	s.expect(protocol.TypePong)
	if log := g.log.take(); strings.Contains(log, "PRIVATE") {
		t.Errorf("the log shows the key: %s", log)
	}

	// A pair that is none is not taken over.
	if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.reloads <- syscall.SIGHUP
	g.log.await("level=ERROR")
	if err := get(second); err != nil {
		t.Error(err)
	}
}

// A page that is refused, by whichever way, leaves a line in the log and is counted
// once.
func TestRefusedOriginsAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, func(c *Config) { c.AllowedOrigins = []string{"capacitor://localhost", "https://bücher.example:443"} })
		refused := func() float64 { return g.metrics()["refresher_origins_refused_total"] }
		for _, from := range []string{"capacitor://localhost", "https://xn--bcher-kva.example"} {
			if s, status := g.knockWith("Origin", from); s == nil {
				t.Errorf("%s: WebSocket %d", from, status)
			} else {
				_ = s.CloseNow()
			}
			if r, _ := g.visit("GET", "/rtm/ana", "", "Origin", from); r.Header.Get("Access-Control-Allow-Origin") != from {
				t.Errorf("%s: HTTP %v", from, r.Header)
			}
		}
		if n := refused(); n != 0 {
			t.Errorf("%v were counted", n)
		}
		for i, ask := range []func(){
			func() { g.knockWith("Origin", "https://evil.example") },
			func() { g.visit("GET", "/rtm/ana", "", "Origin", "https://evil.example") },
			func() { g.visit("OPTIONS", "/rtm/ana", "", "Origin", "https://evil.example") },
			func() { g.visit("POST", "/v1/revocations", "", "Origin", "https://evil.example") },
		} {
			g.log.take()
			ask()
			if n, log := refused(), g.log.take(); n != float64(i+1) || !strings.Contains(log, "origin=https://evil.example host="+serviceAddress) {
				t.Errorf("request %d: counted %v: %s", i, n, log)
			}
		}
	})
}

// A connection that carries no request is kept for longer than Google's balancers keep
// theirs, 600 s: they would send requests on one that is just being closed.
func TestIdleConnectionOutlivesBalancers(t *testing.T) {
	for _, idle := range []time.Duration{650 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			g := newGuarded(t, func(c *Config) { c.IdleTimeout = idle })
			conn, err := g.network.dial(t.Context(), "", serviceAddress)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for range 2 {
				if _, err := io.WriteString(conn, "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				time.Sleep(idle - time.Second) // bubble
			}
			time.Sleep(time.Second) // bubble
			if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("after %s: %v", idle, err)
			}
		})
	}
}

package generator

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/protocol"
)

func valid() Config {
	return Config{URLs: []string{"ws://127.0.0.1:1/v1/ws"}, Calls: 1, JoinRate: 1, Duration: time.Second, Channels: "load-*"}
}

func TestWrongSettingsNameThemselves(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"calls: ":             func(c *Config) { c.Calls = 0 },
		"calls: want 1":       func(c *Config) { c.Calls = MaxCalls + 1 },
		"join-rate: ":         func(c *Config) { c.JoinRate = 0 },
		"drop-rate: ":         func(c *Config) { c.DropRate = -1 },
		"duration: ":          func(c *Config) { c.Duration = 25 * time.Hour },
		"ttl: ":               func(c *Config) { c.TTL = 1500 * time.Millisecond },
		"ack-delay: ":         func(c *Config) { c.AckDelay = time.Hour },
		"channels: ":          func(c *Config) { c.Channels = strings.Repeat("c", 65) },
		"services: ":          func(c *Config) { c.Services = []string{"fax"} },
		"url: want 1":         func(c *Config) { c.URLs = nil },
		"url: want ws":        func(c *Config) { c.URLs = []string{"http://127.0.0.1/"} },
		"is not this machine": func(c *Config) { c.URLs = []string{"ws://calls.example.com/v1/ws"} },
		"198.51.100.1 is not": func(c *Config) { c.URLs = []string{"ws://127.0.0.1:1/", "ws://198.51.100.1/"} },
		"load generator":      func(c *Config) { c.URLs = []string{"ws://localhost.example.com/"} },
	} {
		c := valid()
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, have %v", want, err)
		}
	}
	c := valid()
	c.URLs = []string{"ws://localhost:8080/v1/ws", "ws://[::1]:8080/", "ws://127.9.9.9/"}
	if _, err := New(c); err != nil {
		t.Errorf("this machine: %v", err)
	}
	c.URLs, c.Remote = []string{"wss://calls.example.com/v1/ws"}, true
	if _, err := New(c); err != nil {
		t.Errorf("with --remote: %v", err)
	}
}

// service is the service's end of one connection, in a test with a fake clock.
type service struct {
	t    *testing.T
	conn net.Conn
}

// text sends a message in a frame, as the service does.
func (s *service) text(message string) {
	s.t.Helper()
	b := []byte{0x81}
	if len(message) < 126 {
		b = append(b, byte(len(message)))
	} else {
		b = append(b, 126, byte(len(message)>>8), byte(len(message)))
	}
	// The reader must put the two parts together.
	for _, part := range [][]byte{append(b, message[:len(message)/2]...), []byte(message[len(message)/2:])} {
		if _, err := s.conn.Write(part); err != nil {
			s.t.Errorf("send: %v", err)
		}
	}
}

// expect reads a message, which must contain a text.
func (s *service) expect(want string) {
	s.t.Helper()
	b := make([]byte, 4096)
	n, err := s.conn.Read(b)
	if err != nil {
		s.t.Errorf("waiting for %s: %v", want, err)
		return
	}
	if b[1]&0x80 == 0 {
		s.t.Error("a client's frame without a mask")
	}
	head := 2
	if b[1]&0x7f == 126 {
		head = 4
	}
	mask := b[head : head+4]
	text := b[head+4 : n]
	for i := range text {
		text[i] ^= mask[i%4]
	}
	if !strings.Contains(string(text), want) {
		s.t.Errorf("have %s, want %s", text, want)
	}
}

// accept answers the handshake.
func (s *service) accept() {
	s.t.Helper()
	b := make([]byte, 4096)
	if n, err := s.conn.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), "GET /v1/ws HTTP/1.1\r\n") {
		s.t.Errorf("handshake: %q, %v", b[:n], err)
	}
	_, _ = s.conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + handshakeAccept + "\r\n\r\n"))
}

// admit accepts a connection and its join, with tokens that expire at the given Unix second, and reads the ack.
func (s *service) admit(expiresAt string) {
	s.t.Helper()
	s.accept()
	s.expect(`"type":"join"`)
	s.text(joined("1", expiresAt, "946684800000"))
	s.expect(`"ack","seq":1`)
}

func (s *service) close(code protocol.CloseCode) {
	_, _ = s.conn.Write([]byte{0x88, 2, byte(code >> 8), byte(code & 0xff)}) // the error is ignored: the client may have closed the connection already
}

// play runs calls against a simulated service. Each script is the service's end of one connection, in the order of the
// connections.
func play(t *testing.T, c Config, scripts ...func(*service)) Report {
	t.Helper()
	var report Report
	synctest.Test(t, func(t *testing.T) {
		next := 0
		var mu sync.Mutex // guards next
		var playing sync.WaitGroup
		defer playing.Wait()
		c.dial = func(int, *url.URL) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if next == len(scripts) {
				return nil, errors.New("nobody is there")
			}
			client, server := net.Pipe()
			script := scripts[next]
			next++
			playing.Go(func() {
				defer server.Close()
				script(&service{t: t, conn: server})
			})
			return client, nil
		}
		g, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		report = g.Run(context.Background())
		if next != len(scripts) {
			t.Errorf("%d connections, want %d", next, len(scripts))
		}
	})
	return report
}

// joined returns the answer to a join, or with a seq above 1 to a resume. The fake clock begins at Unix second
// 946684800, in the year 2000.
func joined(seq, life, now string) string {
	return `{"type":"joined","session":"S","key":"K","resumed":` + map[bool]string{true: "false", false: "true"}[seq == "1"] +
		`,"seq":` + seq + `,"tokens":{"rtc":{"token":"t","expiresAt":` + life + `}},"heartbeat":25,"renewBefore":10,"now":` + now + `}`
}

// If no connection succeeds, the run ends early.
func TestNobodyAnswers(t *testing.T) {
	c := valid()
	c.Duration = time.Hour
	if r := play(t, c); r.Seconds < 10 || r.Seconds > 12 || r.Dial != "nobody is there" || r.Errors["connect"] == 0 {
		t.Errorf("after %v s: %q, %v", r.Seconds, r.Dial, r.Errors)
	}
}

func TestACallIsRenewedAndKept(t *testing.T) {
	c := valid()
	c.Duration, c.AckDelay = 60*time.Second, 500*time.Millisecond
	r := play(t, c, func(s *service) {
		s.admit("946684830")
		time.Sleep(20 * time.Second) // bubble
		s.text(`{"type":"token-privilege-will-expire","seq":2,"attempt":1,"cause":"schedule","previousExpiresAt":946684830,"now":946684820000,"tokens":{"rtc":{"token":"t","expiresAt":946684920}}}`)
		s.expect(`"ack","seq":2`)
		s.expect(`"ping"`)
		s.text(`{"type":"pong","now":1}`)
		s.expect(`"ping"`)
		s.text(`{"type":"pong","now":1}`)
		s.expect(`"leave"`)
		s.text(`{"type":"ended","reason":"left","accessEndsAt":0}`)
	})
	if r.Joins != 1 || r.Renewals != 1 || r.Pings != 2 || r.RanOut != 0 || r.LostSeconds != 0 || r.SeqFell != 0 || r.Refused != 0 {
		t.Errorf("%+v", r)
	}
	// Tokens have a lifetime of 30 s. They are renewed after 20 s, and each ack takes half a second.
	if m := r.Margin; m.Count != 1 || m.Least < 9 || m.Least > 9.6 {
		t.Errorf("margin %+v", m)
	}
	if r.Lag.Count != 1 || r.Lag.Most > 6 {
		t.Errorf("lag %+v", r.Lag)
	}
}

func TestTokensThatRunOutAreCounted(t *testing.T) {
	c := valid()
	c.Duration = 40 * time.Second
	r := play(t, c, func(s *service) {
		s.admit("946684810")
		time.Sleep(15 * time.Second) // bubble
		s.text(`{"type":"token-privilege-did-expire","seq":2,"attempt":1,"cause":"schedule","previousExpiresAt":946684810,"now":946684815000,"tokens":{"rtc":{"token":"t","expiresAt":946684830}}}`)
		s.expect(`"ack","seq":2`)
		s.text(`{"type":"token-privilege-will-expire","seq":1,"attempt":2,"cause":"schedule","now":946684815000,"tokens":{"rtc":{"token":"t","expiresAt":946684990}}}`)
		s.expect(`"ping"`)
		time.Sleep(30 * time.Second) // bubble
	})
	// The call has no tokens for five seconds, and again from 30 s to the end.
	if r.RanOut != 2 || r.LostSeconds < 14.5 || r.LostSeconds > 15.5 || r.SeqFell != 1 || r.Renewals != 0 {
		t.Errorf("ran out %d, lost %.2f s, seq fell %d, renewals %d", r.RanOut, r.LostSeconds, r.SeqFell, r.Renewals)
	}
}

func TestALostCallComesBackByItsKey(t *testing.T) {
	c := valid()
	c.Duration = 30 * time.Second
	r := play(t, c, func(s *service) {
		s.admit("946684900")
	}, func(s *service) {
		s.accept()
		s.expect(`"type":"resume","session":"S","key":"K","expiresAt":946684900,"seq":1`)
		s.text(`{"type":"reconnect","afterMs":2000,"reason":"overload"}`)
		s.close(protocol.CloseOverload)
		s.expect("")
	}, func(s *service) {
		s.accept()
		s.expect(`"type":"resume"`)
		s.text(joined("2", "946684930", "946684803000"))
		s.expect(`"ack","seq":2`)
		s.expect(`"ping"`)
		s.text(`{"type":"pong","now":1}`)
		s.expect(`"leave"`)
	})
	if r.Joins != 1 || r.Resumes != 1 || r.Moves != 1 || r.Lost != 1 || r.RanOut != 0 || r.Reconnects["overload"] != 1 {
		t.Errorf("%+v", r)
	}
	if r.Away.Count != 1 || r.Away.Most < 2 || r.Away.Most > 3 {
		t.Errorf("away %+v", r.Away)
	}
}

// If the SDK takes longer to accept tokens than their lifetime, the call has no tokens for a while, although the SDK
// accepts all bundles in the end. Bundles that arrive meanwhile wait, and a repeated push changes nothing.
func TestASlowSDKLosesItsTokens(t *testing.T) {
	c := valid()
	c.Duration, c.AckDelay = 20*time.Second, 9*time.Second
	push := func(seq, attempt, expiresAt string) string {
		return `{"type":"token-privilege-will-expire","seq":` + seq + `,"attempt":` + attempt + `,"cause":"schedule","previousExpiresAt":946684812,"now":946684806000,"tokens":{"rtc":{"token":"t","expiresAt":` + expiresAt + `}}}`
	}
	r := play(t, c, func(s *service) {
		s.accept()
		s.expect(`"type":"join"`)
		s.text(joined("1", "946684812", "946684800000"))
		time.Sleep(6 * time.Second) // bubble
		s.text(push("2", "1", "946684818"))
		s.text(push("2", "2", "946684818"))
		s.expect(`"ack","seq":1`)
		s.expect(`"ack","seq":2`)
		s.expect(`"leave"`)
	})
	// The first tokens expire after 12 s. The next tokens expire after 18 s, in the moment in which the SDK accepts
	// them.
	if r.RanOut != 1 || r.LostSeconds < 7.9 || r.LostSeconds > 8.1 || r.Renewals != 0 || r.Repeats != 1 || r.Without != 0 {
		t.Errorf("ran out %d, lost %.2f s, renewals %d, repeats %d, without %d", r.RanOut, r.LostSeconds, r.Renewals, r.Repeats, r.Without)
	}
}

// One call has joined. A second call counts as one without tokens if the service has told it to retry later, or has not
// answered for long. A call that has just begun does not count.
func TestCallsThatNeverHadTokensAreCounted(t *testing.T) {
	for name, c := range map[string]struct {
		rate    float64
		away    bool // whether the service refuses the second call; otherwise it does not answer
		without int
	}{
		"sent away":     {rate: 0.9, away: true, without: 1},
		"not answered":  {rate: 0.5, without: 1},
		"on their way":  {rate: 0.3, without: 0},
		"and sent away": {rate: 0.3, away: true, without: 1},
	} {
		t.Run(name, func(t *testing.T) {
			config := valid()
			config.Calls, config.JoinRate, config.Duration = 2, c.rate, 5*time.Second
			r := play(t, config, func(s *service) {
				s.admit("946685800")
				s.expect(`"leave"`)
			}, func(s *service) {
				s.accept()
				s.expect(`"type":"join"`)
				if c.away {
					s.text(`{"type":"reconnect","afterMs":60000,"reason":"overload"}`)
					s.close(protocol.CloseOverload)
				}
				_, _ = s.conn.Read(make([]byte, 64))
			})
			if r.Without != c.without || r.Holding != 1 || r.Joins != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// On a network that loses all packets, each attempt takes its whole timeout. The waits between the attempts must grow
// nevertheless.
func TestWaitsGrowWhileNothingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tried := 0
		c := valid()
		c.Duration = time.Hour
		c.dial = func(int, *url.URL) (net.Conn, error) {
			tried++
			client, server := net.Pipe()
			t.Cleanup(func() { _ = server.Close() })
			go func() { _, _ = io.Copy(io.Discard, server) }()
			return client, nil
		}
		g, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		// An attempt takes 10 s, and the wait after it 10 s on average. If the waits did not grow, there would be 350
		// attempts in the hour.
		if g.Run(t.Context()); tried < 120 || tried > 240 {
			t.Errorf("%d attempts in an hour", tried)
		}
	})
}

func TestARefusalEndsTheCall(t *testing.T) {
	c := valid()
	c.Duration = 10 * time.Second
	r := play(t, c, func(s *service) {
		s.accept()
		s.expect(`"type":"join"`)
		s.text(`{"type":"error","code":"unauthenticated","message":"no"}`)
		s.close(4401)
		s.expect("")
	})
	if r.Refused != 1 || r.Errors["unauthenticated"] != 1 || r.Errors["close_4401"] != 1 {
		t.Errorf("%+v", r)
	}
}

// After a close, a call must do what the protocol's table of close codes says.
func TestCallObeysCloseCodes(t *testing.T) {
	codes := []protocol.CloseCode{3000, 4999}
	for _, c := range protocol.CloseCodes() {
		codes = append(codes, c.Code)
	}
	messages := map[string]string{
		"":                 "",
		protocol.TypeError: `{"type":"error","code":"bad_request","message":"no"}`,
		protocol.TypeEnded: `{"type":"ended","reason":"revoked","accessEndsAt":0}`,
	}
	greetings := map[protocol.AfterClose]string{protocol.Retry: `"type":"resume"`, protocol.JoinAfresh: `"type":"join"`}
	for _, code := range codes {
		for last, message := range messages {
			scripts := []func(*service){func(s *service) {
				s.admit("946685800")
				if message != "" {
					s.text(message)
				}
				s.close(code)
				s.expect("")
			}}
			if greeting := greetings[code.After(last)]; greeting != "" {
				scripts = append(scripts, func(s *service) {
					s.accept()
					s.expect(greeting)
					s.text(joined("2", "946685830", "946684803000"))
					s.expect(`"ack","seq":2`)
					s.expect(`"leave"`)
				})
			}
			c := valid()
			c.Duration = 10 * time.Second
			r := play(t, c, scripts...)
			if stopped := r.Refused == 1; stopped != (code.After(last) == protocol.Stop) {
				t.Errorf("%d after %q: %d calls stopped, want %s", code, last, r.Refused, code.After(last))
			}
		}
	}
}

func TestFramesThatNoServiceSends(t *testing.T) {
	for name, b := range map[string]string{
		"fragment":   "\x01\x01a",
		"masked":     "\x81\x81aaaaa",
		"reserved":   "\xc1\x01a",
		"64 bits":    "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01a",
		"incomplete": "\x81",
	} {
		w := &wire{buffer: []byte(b)}
		_, _, ok, err := w.frame()
		if ok || (err == nil) != (name == "incomplete") {
			t.Errorf("%s: taken %v, %v", name, ok, err)
		}
	}
}

func TestSpread(t *testing.T) {
	var s spread
	for i := 1; i <= 1000; i++ {
		s.add(time.Duration(i) * 100 * time.Millisecond)
	}
	r := s.read()
	near := func(have, want float64) bool { return have > want*0.98 && have < want*1.02 }
	if r.Count != 1000 || !near(r.Least, 0.1) || !near(r.P1, 1) || !near(r.P50, 50) || !near(r.P99, 99) || !near(r.Most, 100) {
		t.Errorf("%+v", r)
	}
}

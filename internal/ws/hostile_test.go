package ws

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/ws/admission"
)

// raw opens a WebSocket without a library, so that tests can send malformed frames. It discards what the
// server sends; the channel `done` is closed when the server closes the connection.
func (s *harness) raw() (c net.Conn, done <-chan struct{}) {
	s.t.Helper()
	c, err := s.pipes.dial(s.t.Context(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	go func() {
		_, _ = io.WriteString(c, "GET /v1/ws HTTP/1.1\r\nHost: refresher.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	}()
	r := bufio.NewReader(c)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = response.Body.Close()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, r)
	}()
	return c, gone
}

// write sends bytes. It ignores errors, since the server may already have closed the connection.
func write(c net.Conn, parts ...[]byte) {
	for _, p := range parts {
		_, _ = c.Write(p)
	}
}

// half is an incomplete text frame: its header announces 100 bytes, and one byte follows.
var half = []byte{0x81, 0x80 | 100, 0, 0, 0, 0, 'x'}

// text returns s as a text frame with a mask of zeros.
func text(s string) []byte { return append([]byte{0x81, 0x80 | byte(len(s)), 0, 0, 0, 0}, s...) }

const joinText = `{"type":"join","rtm":{"userId":"u"}}`

func TestClientThatStopsInTheMiddleOfAFrame(t *testing.T) {
	for name, say := range map[string]func(s *harness, c net.Conn){
		"before it joined": func(_ *harness, c net.Conn) { write(c, half) },
		"after it was refused": func(_ *harness, c net.Conn) {
			write(c, text("x"), half)
		},
		"in a message that is too long": func(_ *harness, c net.Conn) {
			write(c, []byte{0x81, 0x80 | 126, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 9000))
		},
		"after its session ended": func(s *harness, c net.Conn) {
			write(c, text(joinText))
			synctest.Wait()
			s.sessions.last().client.End(session.Ending{Reason: session.EndRevoked})
			synctest.Wait()
			write(c, text("x"), half)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				c, done := s.raw()
				began := time.Now()
				say(s, c)
				<-done
				if took := time.Since(began); took > 25*time.Second {
					t.Errorf("was kept for %s", took)
				}
			})
		})
	}
}

func TestNoWriterWaitsForAConnectionThatIsClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		c, _ := s.raw()
		write(c, text(joinText))
		synctest.Wait()
		client := s.sessions.last().client
		client.End(session.Ending{Reason: session.EndRevoked})
		synctest.Wait()
		write(c, text("x"), half)
		began := time.Now()
		if client.Push(session.Push{}) == nil {
			t.Error("a push to a connection that is closing succeeded")
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the push took %s", took)
		}
	})
}

func TestOverloadNeverSendsACallAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config) { c.JoinRate = 10 })
		for range 1000 { // malformed, so it must not use up the join rate
			p := s.dial()
			p.send(`{"type":"resume"}`)
			p.closed(protocol.CloseMalformed)
		}
		p := s.dial()
		p.send(`{"type":"resume","session":"S","key":"K"}`)
		if m := p.read(); m["type"] != protocol.TypeJoined {
			t.Fatalf("an idle node answered %v", m)
		}
		for range 1000 {
			p := s.dial()
			p.send(`{"type":"resume","session":"S","key":"K"}`)
			m := p.read()
			if m["type"] == protocol.TypeReconnect && m["afterMs"].(float64) > float64(admission.MaxDelay.Milliseconds()) {
				t.Fatalf("told to wait %v ms", m["afterMs"])
			}
		}
	})
}

// No client is told to wait longer than a third of the time until its tokens expire. Clients whose tokens have expired
// may retry soon; each second, at most as many of them may do so as the join rate allows.
func TestOverloadMindsTheTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 10
		s := newStage(t, func(c *Config) { c.JoinRate = rate })
		told := func(life time.Duration) time.Duration {
			p := s.dial()
			p.send(fmt.Sprintf(`{"type":"resume","session":"S","key":"K","expiresAt":%d}`, time.Now().Add(life).Unix()))
			m := p.closed(protocol.CloseOverload)[0]
			return time.Duration(m["afterMs"].(float64) * float64(time.Millisecond))
		}
		for range rate {
			s.join()
		}
		for range 28 * rate {
			told(time.Hour) // reserves all retry slots of the next 28 s
		}
		for range 100 {
			if after := told(12 * time.Second); after > 4*time.Second {
				t.Errorf("with 12 s left, told to wait %v", after)
			}
			if after := told(2 * time.Second); after > time.Second {
				t.Errorf("with 2 s left, told to wait %v", after)
			}
		}
		soon := 0
		for range 100 {
			if told(-time.Minute) <= time.Second {
				soon++
			}
		}
		if soon < rate || soon > 2*rate {
			t.Errorf("%d of 100 without tokens are back within a second; want about %d", soon, rate)
		}
	})
}

func TestDrainSpreadsThoseWhoComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		stays := s.join()
		go func() { _, _, _ = stays.socket.Read(t.Context()) }()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			s.hub.Drain(t.Context(), time.Hour)
		}()
		synctest.Wait()
		var most float64
		for range 50 {
			p := s.dial()
			p.send(`{"type":"resume","session":"S","key":"K"}`)
			before := p.closed(protocol.CloseDrain)
			most = max(most, before[0]["afterMs"].(float64))
		}
		if most < float64(time.Minute.Milliseconds()) {
			t.Errorf("all of them may come back within %v ms", most)
		}
		_ = stays.socket.CloseNow()
		<-drained
	})
}

func TestDrainStopsTellingWhenItIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		for range 300 { // clients that read nothing
			s.join()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		s.hub.Drain(ctx, time.Minute)
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestClientThatIsGoneBeforeItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		c, _ := s.raw()
		s.sessions.beforeJoined = func() { _ = c.Close() }
		write(c, text(joinText))
		wait(time.Minute)
		outcomes := make(map[string]bool)
		for _, o := range []string{"lost", "internal"} {
			outcomes[o] = counted(t, s, o)
		}
		if !outcomes["lost"] || outcomes["internal"] {
			t.Errorf("outcomes %v", outcomes)
		}
	})
}

// If a client hangs up while its join waits for approval, the join is cancelled.
func TestClientThatHangsUpBeforeItsAnswer(t *testing.T) {
	for name, hangUp := range map[string]func(c net.Conn){
		"closes":   func(c net.Conn) { write(c, []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9}) },
		"is gone":  func(c net.Conn) { _ = c.Close() },
		"stammers": func(c net.Conn) { write(c, half); _ = c.Close() },
	} {
		for _, first := range []string{joinText, `{"type":"resume","session":"S","key":"K"}`} {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				s.sessions.asks = true
				c, _ := s.raw()
				write(c, text(first))
				wait(time.Second)
				if n := s.sessions.waiting.Load(); n != 1 || counted(t, s, "lost") {
					t.Fatalf("%s: %d wait", first, n)
				}
				hangUp(c)
				synctest.Wait()
				if n := s.sessions.waiting.Load(); n != 0 || !counted(t, s, "lost") || s.hub.open() != 0 {
					t.Errorf("%s, then %s: %d wait, %v connections", first, name, n, s.hub.open())
				}
			})
		}
	}
}

// Messages that arrive before the node has answered the join are handled after the join.
func TestMessagesBeforeTheAnswerWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		answer := make(chan struct{})
		s.sessions.beforeJoined = func() { <-answer }
		p := s.dial()
		p.send(`{"type":"join","rtc":{"channel":"c","uid":1}}`)
		p.send(`{"type":"ping"}`)
		synctest.Wait()
		close(answer)
		for _, want := range []string{protocol.TypeJoined, protocol.TypePong} {
			if m := p.read(); m["type"] != want {
				t.Errorf("told %v, want %s", m, want)
			}
		}
	})
}

// knownAccess refuses the credential "stranger", and rate-limits the credential "busy".
type knownAccess struct{ openAccess }

func (knownAccess) Authenticate(_ context.Context, credential string) (session.Caller, error) {
	switch credential {
	case "stranger":
		return session.Caller{}, session.Errorf(session.CodeUnauthenticated, "auth: no")
	case "busy":
		return session.Caller{}, &session.Error{Code: session.CodeRateLimited, RetryAfter: time.Second}
	}
	return session.Caller{Subject: credential, Grant: session.Grant{All: true}}, nil
}

func TestStrangersUseUpNobodysTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config) { c.Access, c.JoinRate = knownAccess{}, 1 })
		join := func(credential string) *peer {
			p := s.dial()
			p.send(`{"type":"join","auth":"` + credential + `","rtc":{"channel":"c","uid":1}}`)
			return p
		}
		for range 100 {
			if before := join("stranger").closed(protocol.CloseUnauthenticated); len(before) != 1 || before[0]["code"] != "unauthenticated" {
				t.Fatalf("a stranger was told %v", before)
			}
			if before := join("busy").closed(protocol.CloseOverload); len(before) != 1 || before[0]["afterMs"] != float64(1000) {
				t.Fatalf("a busy caller was told %v", before)
			}
			p := s.dial()
			p.send(`{"type":"resume","session":"x","key":"made up","expiresAt":1}`)
			if before := p.closed(protocol.CloseUnknownSession); len(before) != 1 || before[0]["code"] != "unknown_session" {
				t.Fatalf("who made a key up was told %v", before)
			}
		}
		if m := join("ana").read(); m["type"] != protocol.TypeJoined {
			t.Fatalf("the first to be let in was told %v", m)
		}
		if before := join("ana").closed(protocol.CloseOverload); len(before) != 1 || before[0]["type"] != protocol.TypeReconnect || before[0]["afterMs"].(float64) > 1000 {
			t.Errorf("one more than the node takes was told %v", before)
		}
	})
}

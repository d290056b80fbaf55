package ws

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// raw opens a WebSocket on which tests can send malformed frames. It discards what the server sends; the channel `done`
// is closed when the server closes the connection.
func (s *harness) raw() (c net.Conn, done <-chan struct{}) {
	s.t.Helper()
	c = s.dial().raw
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
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
				s := newHarness(t, nil)
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
		s := newHarness(t, nil)
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

func TestClientThatIsGoneBeforeItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		c, _ := s.raw()
		s.sessions.beforeJoined = func() { _ = c.Close() }
		write(c, text(joinText))
		wait(time.Minute)
		if !counted(t, s, "lost") || counted(t, s, "internal") {
			t.Error("the join is not counted as lost")
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
		for _, first := range []string{joinText, resumeText} {
			synctest.Test(t, func(t *testing.T) {
				s := newHarness(t, nil)
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
		s := newHarness(t, nil)
		answer := make(chan struct{})
		s.sessions.beforeJoined = func() { <-answer }
		p := s.dial()
		p.send(joinText)
		p.send(`{"type":"ping"}`)
		synctest.Wait()
		close(answer)
		p.expect(protocol.TypeJoined)
		p.expect(protocol.TypePong)
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
		s := newHarness(t, func(c *Config) { c.Access, c.JoinRate = knownAccess{}, 1 })
		greet := func(text string) *peer {
			p := s.dial()
			p.send(text)
			return p
		}
		join := func(credential string) *peer {
			return greet(`{"type":"join","auth":"` + credential + `","rtm":{"userId":"u"}}`)
		}
		for range 100 {
			greet(`{"type":"resume"}`).refused(protocol.CloseMalformed)
			greet(`{"type":"resume","session":"x","key":"made up","expiresAt":1}`).refused(protocol.CloseUnknownSession)
			join("stranger").refused(protocol.CloseUnauthenticated)
			if after := join("busy").sentAway(protocol.CloseOverload); after != time.Second {
				t.Fatalf("a caller over its rate is sent away for %s", after)
			}
		}
		join("ana").expect(protocol.TypeJoined)
		for i := range 20 {
			if after := join("ana").sentAway(protocol.CloseOverload).Round(time.Second); after != time.Duration(i)*time.Second {
				t.Errorf("client %d over the node's rate is sent away for %s", i, after)
			}
		}
		soon := fmt.Sprintf(`{"type":"resume","session":"S","key":"K","expiresAt":%d}`, time.Now().Add(6*time.Second).Unix())
		if after := greet(soon).sentAway(protocol.CloseOverload); after > 2*time.Second {
			t.Errorf("a client whose tokens expire in 6 s is sent away for %s", after)
		}
	})
}

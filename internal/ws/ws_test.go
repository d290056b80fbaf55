package ws

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

func TestWhatAClientSaysReachesItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		p := s.join()
		p.send(`{"type":"ack","seq":1}`)
		p.send(`{"type":"nack","seq":1,"code":"INVALID_OPERATION","message":"no"}`)
		p.send(`{"type":"nack","seq":1,"code":5,"message":"wrong app id"}`)
		p.send(`{"type":"renew","unknown":"field"}`)
		p.send(`{"type":"ping"}`)
		if m := p.expect(protocol.TypePong); m.Now != time.Now().UnixMilli() {
			t.Errorf("answer to ping: %+v", m)
		}
		p.send(`{"type":"leave"}`)
		if m := p.expect(protocol.TypeEnded); m.Reason != "left" || m.AccessEndsAt != 9 {
			t.Errorf("answer to leave: %+v", m)
		}
		p.closed(protocol.CloseLeft)
		s.said("ack", "nack INVALID_OPERATION no", "nack 5 wrong app id", "renew", "leave", "detach")
	})
}

func TestWhatASessionSaysReachesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		p, lost := s.join(), s.join()
		s.sessions.last().client.CloseDead()
		lost.closed(protocol.CloseLost)
		client := s.sessions.open[0].client
		for seq := range uint64(20) {
			go func() { _ = client.Push(session.Push{Seq: seq, Tokens: session.Tokens{RTC: "t"}}) }()
			if m := p.expect(protocol.TypeWillExpire); m.Seq != seq {
				t.Fatalf("push %d: %+v", seq, m)
			}
		}
		client.End(session.Ending{Reason: session.EndSuperseded})
		if m := p.expect(protocol.TypeEnded); m.Reason != "superseded" {
			t.Errorf("told %+v", m)
		}
		p.closed(protocol.CloseSuperseded)
	})
}

func TestConnectionThatNeverJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newHarness(t, nil).dial()
		began := time.Now()
		p.refused(protocol.CloseNoJoin)
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second+sweepEvery {
			t.Errorf("closed after %s", took)
		}
	})
}

// A connection stays open for four heartbeats if the client only answers pings, since a browser may run the timers of a
// page only once a minute.
func TestHeartbeatIsSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		quiet, alive := s.join(), s.join() // both clients answer pings: the WebSocket library does so while a client reads
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 10 {
				wait(25 * time.Second)
				alive.send(`{"type":"ping"}`)
				alive.expect(protocol.TypePong)
			}
		}()
		began := time.Now()
		quiet.closed(protocol.CloseLost)
		if took := time.Since(began); took < 100*time.Second || took > 102*time.Second {
			t.Errorf("a connection that only answered pings was closed after %s", took)
		}
		<-done
		if got := s.closes("4001"); got != 1 {
			t.Errorf("%v connections counted as lost", got)
		}
	})
}

// A client that does not answer a ping but sends a message is pinged again when it becomes silent.
func TestSilentClientIsPingedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newHarness(t, nil).join().raw
		expect := func(kind byte) {
			t.Helper()
			var head [2]byte
			if _, err := io.ReadFull(c, head[:]); err != nil || head[0] != kind {
				t.Fatalf("a frame %#x, %v; want %#x", head[0], err, kind)
			}
			_, _ = io.CopyN(io.Discard, c, int64(head[1]))
		}
		expect(pingFrame)
		go write(c, text(protocol.PingText))
		expect(textFrame)
		began := time.Now()
		expect(pingFrame)
		if after := time.Since(began); after < probeAfter(25*time.Second) || after > probeAfter(25*time.Second)+sweepEvery {
			t.Errorf("pinged again after %s", after)
		}
	})
}

// A connection is not closed for the client's silence while the node handles the client's join.
func TestSlowAnswerIsNotTheClientsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, func(c *Config) { c.Heartbeat = time.Second })
		s.sessions.beforeJoined = func() { wait(8 * time.Second) }
		s.join()
	})
}

// A client that reads a message slowly, piece by piece, has no more time for the message than a client that reads nothing.
func TestClientThatDoesNotReadIsCut(t *testing.T) {
	for name, readAfter := range map[string]time.Duration{"slowly": 4900 * time.Millisecond, "nothing": time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := newHarness(t, nil)
			raw := s.join().raw
			go func() {
				for err := error(nil); err == nil; {
					time.Sleep(readAfter) // bubble
					_, err = raw.Read(make([]byte, writeBuffer))
				}
			}()
			began, token := time.Now(), strings.Repeat("t", 1000)
			err := s.sessions.last().client.Push(session.Push{Seq: 2, Tokens: session.Tokens{RTC: token, RTM: token, Chat: token}})
			if took := time.Since(began); err == nil || took != 5*time.Second {
				t.Errorf("reads %s: %v after %s", name, err, took)
			}
			s.said("detach")
			if got := s.closes("4002"); got != 1 {
				t.Errorf("reads %s: %v connections counted as too slow", name, got)
			}
			wait(time.Minute)
		})
	}
}

func TestRefusedMessages(t *testing.T) {
	long := `{"type":"` + strings.Repeat("x", 9<<10) + `"}`
	for name, c := range map[string]struct {
		joined bool
		kind   websocket.MessageType
		send   string
		code   string
		closes protocol.CloseCode // 0 means that the connection stays open
	}{
		"no JSON":             {false, websocket.MessageText, `{"type":`, "bad_request", protocol.CloseMalformed},
		"no JSON, later":      {true, websocket.MessageText, `{"type":`, "bad_request", protocol.CloseMalformed},
		"unknown type first":  {false, websocket.MessageText, `{"type":"hello"}`, "bad_request", protocol.CloseMalformed},
		"unknown type later":  {true, websocket.MessageText, `{"type":"hello"}`, "unknown_type", 0},
		"ping before join":    {false, websocket.MessageText, `{"type":"ping"}`, "bad_request", protocol.CloseMalformed},
		"join twice":          {true, websocket.MessageText, joinText, "bad_request", 0},
		"resume on top":       {true, websocket.MessageText, resumeText, "bad_request", 0},
		"ack without seq":     {true, websocket.MessageText, `{"type":"ack"}`, "bad_request", 0},
		"ack of a future seq": {true, websocket.MessageText, `{"type":"ack","seq":6}`, "bad_request", 0},
		"resume without key":  {false, websocket.MessageText, `{"type":"resume","session":"s"}`, "bad_request", protocol.CloseMalformed},
		"too long":            {false, websocket.MessageText, long, "bad_request", protocol.CloseTooLarge},
		"too long, later":     {true, websocket.MessageText, long, "bad_request", protocol.CloseTooLarge},
		"binary":              {true, websocket.MessageBinary, `{"type":"ping"}`, "bad_request", protocol.CloseMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newHarness(t, nil)
				p := s.dial()
				if c.joined {
					p = s.join()
				}
				// The message is sent in a goroutine, since a pipe has no buffer and a write blocks until the peer reads.
				go func() { _ = p.socket.Write(t.Context(), c.kind, []byte(c.send)) }()
				if m := p.expect(protocol.TypeError); m.Code != c.code || m.Message == "" {
					t.Errorf("answer: %+v", m)
				}
				if c.closes != 0 {
					p.closed(c.closes)
					return
				}
				p.send(`{"type":"ping"}` + strings.Repeat(" ", protocol.MaxMessage-len(`{"type":"ping"}`))) // this is the longest message that is accepted
				p.expect(protocol.TypePong)
			})
		})
	}
}

func TestRefusalsOfSessions(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		closes protocol.CloseCode
		want   serverMessage
	}{
		"the client's fault": {session.Errorf(session.CodeBadRequest, "no"), protocol.CloseMalformed, serverMessage{Type: "error", Code: "bad_request", Message: "no"}},
		"unknown":            {session.ErrUnknown, protocol.CloseUnknownSession, serverMessage{Type: "error", Code: "unknown_session", Message: session.ErrUnknown.Message}},
		"full":               {session.Errorf(session.CodeUnavailable, "full"), protocol.CloseOverload, serverMessage{Type: "error", Code: "unavailable", Message: "full"}},
		"our own":            {errors.New("secret trouble"), protocol.CloseInternal, serverMessage{Type: "error", Code: "internal", Message: "internal error; try again"}},
		"revoked": {
			&session.EndedError{Ending: session.Ending{Reason: session.EndRevoked, AccessEndsAt: 5}},
			protocol.CloseEnded,
			serverMessage{Type: "ended", Reason: "revoked", AccessEndsAt: 5},
		},
		"superseded": {
			&session.EndedError{Ending: session.Ending{Reason: session.EndSuperseded}}, protocol.CloseSuperseded, serverMessage{Type: "ended", Reason: "superseded"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				s := newHarness(t, func(config *Config) { config.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
				s.sessions.refuse = c.err
				p := s.dial()
				p.send(resumeText)
				if got := p.expect(c.want.Type); got != c.want {
					t.Errorf("told %+v, want %+v", got, c.want)
				}
				p.closed(c.closes)
				synctest.Wait()
				if logged := strings.Contains(log.String(), "request failed"); logged != (c.closes == protocol.CloseInternal) {
					t.Errorf("only faults of the node are logged: %s", log.String())
				}
			})
		})
	}
}

func TestFloodIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		p := s.join()
		go func() { // sends until the server closes the connection
			for err := error(nil); err == nil; {
				err = p.socket.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ack","seq":1}`))
			}
		}()
		if m := p.refused(protocol.CloseRateLimited); m.Code != "rate_limited" {
			t.Errorf("told %+v", m)
		}
		wait(time.Second)
		if n := len(s.sessions.last().said()); n > protocol.MessageBurst+1 {
			t.Errorf("%d of the messages reached the session", n)
		}
	})
}

func TestAllowance(t *testing.T) {
	var a allowance
	now := time.Hour
	for i := range protocol.MessageBurst {
		if !a.take(now) {
			t.Fatalf("message %d is refused", i)
		}
	}
	for range 1000 {
		if a.take(now) {
			t.Fatal("more than the burst is taken")
		}
		if now += messageEvery; !a.take(now) {
			t.Fatal("a message at the rate is refused")
		}
	}
}

func TestDrainSpreadsTheClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		const n = 10
		moves := make(chan time.Duration, n)
		began := time.Now()
		for range n {
			p := s.join()
			go func() {
				told := p.sentAway(protocol.CloseDrain) // the node closes the connection after the announced delay
				if after := time.Since(began); after < told || after > told+time.Second {
					t.Errorf("closed after %s, told %s", after, told)
				}
				moves <- told.Truncate(time.Second)
			}()
		}
		s.hub.Drain(t.Context(), 20*time.Second)
		if took := time.Since(began); took < 18*time.Second || took > 20*time.Second {
			t.Errorf("drained in %s", took)
		}
		perSecond := make(map[time.Duration]int)
		for range n {
			second := <-moves
			if perSecond[second]++; perSecond[second] > 1 {
				t.Errorf("two clients were told to move in second %s", second)
			}
		}
		late := s.dial()
		late.send(joinText)
		late.sentAway(protocol.CloseDrain)
	})
}

// During a drain, clients that do not read delay neither the messages to other clients nor the end of the
// drain.
func TestDrainDespiteClientsThatDoNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		for range 300 {
			s.join()
		}
		const good = 20
		var moved sync.WaitGroup
		for range good {
			p := s.join()
			moved.Go(func() { p.sentAway(protocol.CloseDrain) })
		}
		began := time.Now()
		s.hub.Drain(t.Context(), 20*time.Second)
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("drained in %s", took)
		}
		moved.Wait()
	})
}

// A drain ends early if all clients have left, or if its context is done.
func TestDrainEndsEarly(t *testing.T) {
	for _, leave := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newHarness(t, nil)
			for range 5 {
				p := s.join()
				go func() {
					p.expect(protocol.TypeReconnect)
					if leave {
						_ = p.socket.Close(websocket.StatusGoingAway, "")
					}
				}()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			s.hub.Drain(ctx, time.Hour)
			if leave != (ctx.Err() == nil) {
				t.Errorf("clients that leave: %t; drained with %v", leave, ctx.Err())
			}
		})
	}
}

// The delays of clients that connect to a draining node are spread over the rest of the window, but are at most a sixth
// of the time until their tokens expire.
func TestDrainDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, nil).hub
		if _, draining := h.drainDelay(0); draining {
			t.Error("it is not draining yet")
		}
		h.drainsBy.Store(int64(h.now() + time.Hour))
		for life, most := range map[time.Duration]time.Duration{0: time.Hour, time.Minute: 10 * time.Second, -time.Minute: minReturn, 10 * time.Hour: time.Hour} {
			expiresAt := session.SecOf(time.Now().Add(life))
			if life == 0 {
				expiresAt = 0
			}
			longest := time.Duration(0)
			for range 200 {
				after, draining := h.drainDelay(expiresAt)
				if !draining || after > most {
					t.Fatalf("tokens that live %s: %s, want at most %s", life, after, most)
				}
				longest = max(longest, after)
			}
			if longest < most/2 {
				t.Errorf("tokens that live %s: at most %s, want up to %s", life, longest, most)
			}
		}
	})
}

// Close ends all connections, so that their sessions know it when Close returns. A later connection is closed at once.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		s.join()
		s.hub.Close()
		if got := s.sessions.last().said(); !slices.Equal(got, []string{"detach"}) {
			t.Errorf("the session was told %q", got)
		}
		began := time.Now()
		late := s.dial()
		if _, _, err := late.socket.Read(t.Context()); err == nil || time.Since(began) > 0 {
			t.Errorf("a connection after Close: %v after %s", err, time.Since(began))
		}
	})
}

func TestUnknownCloseCodesAreCountedTogether(t *testing.T) {
	s := newHarness(t, nil)
	s.hub.metrics.closed(4999)
	if got := s.closes("other"); got != 1 {
		t.Errorf("%v closes with unknown codes", got)
	}
}

func TestConfigErrorsNameTheSetting(t *testing.T) {
	for _, c := range []Config{
		{Heartbeat: time.Millisecond}, {Heartbeat: time.Second, JoinRate: -1}, {Heartbeat: time.Second, JoinRate: math.Inf(1)}, {Heartbeat: time.Second, JoinRate: math.NaN()},
	} {
		want := "join-rate: "
		if c.JoinRate == 0 {
			want = "heartbeat: "
		}
		if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestRefusedHandshakes(t *testing.T) {
	hub := newHub(t, &sessions{}, nil)
	for from, status := range map[string]int{"": http.StatusUpgradeRequired, "https://evil.example": http.StatusForbidden} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/ws", nil)
		r.Header.Set("Origin", from)
		w := httptest.NewRecorder()
		if hub.ServeHTTP(w, r); w.Code != status {
			t.Errorf("from %q: %d, want %d", from, w.Code, status)
		}
	}
}

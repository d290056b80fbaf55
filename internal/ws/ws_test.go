package ws

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

func TestWhatAClientSaysReachesItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.join()
		p.send(`{"type":"ack","seq":1}`)
		p.send(`{"type":"nack","seq":1,"code":"INVALID_OPERATION","message":"no"}`)
		p.send(`{"type":"nack","seq":1,"code":5,"message":"wrong app id"}`)
		p.send(`{"type":"renew","unknown":"field"}`)
		p.send(`{"type":"ping"}`)
		if m := p.read(); m["type"] != protocol.TypePong || m["now"].(float64) != float64(time.Now().UnixMilli()) {
			t.Fatalf("answer to ping: %v", m)
		}
		p.send(`{"type":"leave"}`)
		before := p.closed(protocol.CloseLeft)
		want := []map[string]any{{"type": "ended", "reason": "left", "accessEndsAt": float64(9)}}
		if diff := cmp.Diff(want, before); diff != "" {
			t.Error(diff)
		}
		wait(time.Second)
		calls := []string{"ack", "nack INVALID_OPERATION no", "nack 5 wrong app id", "renew", "leave", "detach"}
		if diff := cmp.Diff(calls, s.sessions.last().said()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatASessionSaysReachesItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.join()
		for i := range 20 {
			push := session.Push{Seq: uint64(i + 2), Tokens: session.Tokens{RTC: "t"}, Attempt: 1, Cause: session.CauseSchedule}
			go func() { _ = s.sessions.last().client.Push(push) }()
			if m := p.read(); m["type"] != protocol.TypeWillExpire || m["seq"].(float64) != float64(i+2) {
				t.Fatalf("push %d: %v", i, m)
			}
		}
		s.sessions.last().client.End(session.Ending{Reason: session.EndSuperseded})
		if before := p.closed(protocol.CloseSuperseded); len(before) != 1 || before[0]["reason"] != "superseded" {
			t.Errorf("before the close: %v", before)
		}
	})
}

func TestLostClientIsClosedWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.join()
		s.sessions.last().client.CloseDead()
		if before := p.closed(protocol.CloseLost); len(before) != 0 {
			t.Errorf("before the close: %v", before)
		}
	})
}

func TestConnectionThatNeverJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.dial()
		began := time.Now()
		before := p.closed(protocol.CloseNoJoin)
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second+sweepEvery {
			t.Errorf("closed after %s", took)
		}
		if len(before) != 1 || before[0]["code"] != "bad_request" {
			t.Errorf("before the close: %v", before)
		}
	})
}

func TestHeartbeatIsSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		quiet, alive := s.join(), s.join() // both clients answer pings, since the library does so while they read
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 10 {
				wait(25 * time.Second)
				alive.send(`{"type":"ping"}`)
				alive.read()
			}
		}()
		began := time.Now()
		quiet.closed(protocol.CloseLost)
		if took := time.Since(began); took < 100*time.Second || took > 102*time.Second {
			t.Errorf("a connection that only answered pings was closed after %s", took)
		}
		<-done
		if got := testutil.ToFloat64(s.hub.metrics.closes.WithLabelValues("4001")); got != 1 {
			t.Errorf("%v connections counted as lost", got)
		}
	})
}

// A connection stays open if the page is hidden, though browsers then run its timers only once a minute.
func TestThrottledPageStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.join()
		pongs := make(chan map[string]any)
		go func() { // reads all the time, as a browser does
			defer close(pongs)
			for range 20 {
				pongs <- p.read()
			}
		}()
		for range 20 {
			wait(time.Minute)
			p.send(`{"type":"ping"}`)
			if m := <-pongs; m["type"] != "pong" {
				t.Fatalf("got %v", m)
			}
		}
	})
}

// A client is not closed for silence while its join is handled.
func TestSlowAnswerIsNotTheClientsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config) { c.Heartbeat = time.Second })
		s.sessions.beforeJoined = func() { wait(8 * time.Second) }
		s.join()
	})
}

// A client that reads a message slowly, piece by piece, does not get a longer write deadline.
func TestSlowReaderHasOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		var raw net.Conn
		transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			raw, err = s.pipes.dial(ctx, network, address)
			return raw, err
		}}
		defer transport.CloseIdleConnections()
		socket, _, err := websocket.Dial(t.Context(), "ws://refresher.test/v1/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		defer socket.CloseNow() //nolint:errcheck // it was cut off
		p := &peer{t: t, socket: socket}
		p.send(`{"type":"join","rtc":{"channel":"c","uid":1}}`)
		p.read()
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for part := make([]byte, writeBuffer); ; {
				time.Sleep(4900 * time.Millisecond) // bubble
				if _, err := raw.Read(part); err != nil {
					return
				}
			}
		}()
		began := time.Now()
		token := strings.Repeat("t", 1000)
		if err := s.sessions.last().client.Push(session.Push{Seq: 2, Tokens: session.Tokens{RTC: token, RTM: token, Chat: token}}); err == nil {
			t.Error("it took everything")
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it was cut off after %s", took)
		}
		<-gone
	})
}

func TestHalfOpenConnectionIsCutAndDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.join() // this client never reads or writes again
		wait(time.Minute)
		wait(15 * time.Second) // time for the closing handshake to fail
		if said := s.sessions.last().said(); len(said) != 1 || said[0] != "detach" {
			t.Errorf("the session was told %v", said)
		}
	})
}

func TestClientThatDoesNotReadIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.join()
		began := time.Now()
		if err := s.sessions.last().client.Push(session.Push{}); err == nil {
			t.Fatal("a push that nobody took succeeded")
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("gave up after %s", took)
		}
		wait(time.Second)
		if said := s.sessions.last().said(); len(said) != 1 || said[0] != "detach" {
			t.Errorf("the session was told %v", said)
		}
		if got := testutil.ToFloat64(s.hub.metrics.closes.WithLabelValues("4002")); got != 1 {
			t.Errorf("%v connections counted as too slow", got)
		}
	})
}

func TestRefusedMessages(t *testing.T) {
	for name, c := range map[string]struct {
		joined bool
		send   string
		code   string
		closes protocol.CloseCode // 0 means that the connection stays open
	}{
		"no JSON":                  {false, `{"type":`, "bad_request", protocol.CloseMalformed},
		"no JSON, later":           {true, `{"type":`, "bad_request", protocol.CloseMalformed},
		"an array":                 {false, `[1]`, "bad_request", protocol.CloseMalformed},
		"a type of number":         {false, `{"type":1}`, "bad_request", protocol.CloseMalformed},
		"no type":                  {false, `{}`, "bad_request", protocol.CloseMalformed},
		"unknown type first":       {false, `{"type":"hello"}`, "bad_request", protocol.CloseMalformed},
		"unknown type later":       {true, `{"type":"hello"}`, "unknown_type", 0},
		"ack before join":          {false, `{"type":"ack","seq":1}`, "bad_request", protocol.CloseMalformed},
		"ping before join":         {false, `{"type":"ping"}`, "bad_request", protocol.CloseMalformed},
		"join twice":               {true, `{"type":"join","rtc":{"channel":"c","uid":1}}`, "bad_request", 0},
		"resume on top":            {true, `{"type":"resume","session":"s","key":"k"}`, "bad_request", 0},
		"ack without seq":          {true, `{"type":"ack"}`, "bad_request", 0},
		"ack of a future seq":      {true, `{"type":"ack","seq":6}`, "bad_request", 0},
		"ack of a negative seq":    {true, `{"type":"ack","seq":-1}`, "bad_request", protocol.CloseMalformed},
		"nack with an odd code":    {true, `{"type":"nack","seq":1,"code":{}}`, "bad_request", protocol.CloseMalformed},
		"resume without key":       {false, `{"type":"resume","session":"s"}`, "bad_request", protocol.CloseMalformed},
		"longer than 8 KiB":        {false, `{"type":"` + strings.Repeat("x", 9<<10) + `"}`, "bad_request", protocol.CloseTooLarge},
		"longer than 8 KiB, later": {true, `{"type":"` + strings.Repeat("x", 9<<10) + `"}`, "bad_request", protocol.CloseTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				p := s.dial()
				if c.joined {
					p = s.join()
				}
				go func() { // in a goroutine, since a pipe has no buffer and a write blocks until the peer reads
					_ = p.socket.Write(t.Context(), websocket.MessageText, []byte(c.send))
				}()
				var m map[string]any
				if c.closes != 0 {
					before := p.closed(c.closes)
					if len(before) != 1 {
						t.Fatalf("before the close: %v", before)
					}
					m = before[0]
				} else {
					m = p.read()
				}
				if m["type"] != "error" || m["code"] != c.code || m["message"] == "" {
					t.Errorf("answer: %v", m)
				}
				if c.closes == 0 {
					p.send(`{"type":"ping"}`)
					if m := p.read(); m["type"] != protocol.TypePong {
						t.Errorf("the connection does not go on: %v", m)
					}
				}
			})
		})
	}
}

func TestLongestMessageIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.join()
		text := `{"type":"ping"}`
		p.send(text + strings.Repeat(" ", protocol.MaxMessage-len(text)))
		if m := p.read(); m["type"] != protocol.TypePong {
			t.Errorf("answer: %v", m)
		}
	})
}

func TestBinaryMessageIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.join()
		if err := p.socket.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"ping"}`)); err != nil {
			t.Fatal(err)
		}
		if before := p.closed(protocol.CloseMalformed); len(before) != 1 || before[0]["code"] != "bad_request" {
			t.Errorf("before the close: %v", before)
		}
	})
}

func TestRefusalsOfSessions(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		closes protocol.CloseCode
		want   map[string]any
	}{
		"the client's fault": {
			session.Errorf(session.CodeBadRequest, "rtc.channel: no"), protocol.CloseMalformed,
			map[string]any{"type": "error", "code": "bad_request", "message": "rtc.channel: no"},
		},
		"unknown": {
			session.ErrUnknown, protocol.CloseUnknownSession,
			map[string]any{"type": "error", "code": "unknown_session", "message": session.ErrUnknown.Message},
		},
		"full": {
			session.Errorf(session.CodeUnavailable, "full"), protocol.CloseOverload,
			map[string]any{"type": "error", "code": "unavailable", "message": "full"},
		},
		"left": {
			&session.EndedError{Ending: session.Ending{Reason: session.EndRevoked, AccessEndsAt: 5}}, protocol.CloseEnded,
			map[string]any{"type": "ended", "reason": "revoked", "accessEndsAt": float64(5)},
		},
		"superseded": {
			&session.EndedError{Ending: session.Ending{Reason: session.EndSuperseded}}, protocol.CloseSuperseded,
			map[string]any{"type": "ended", "reason": "superseded", "accessEndsAt": float64(0)},
		},
		"our own": {
			errors.New("secret trouble"), protocol.CloseInternal,
			map[string]any{"type": "error", "code": "internal", "message": "the server failed; try again"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				s.sessions.refuse = c.err
				p := s.dial()
				p.send(`{"type":"resume","session":"s","key":"k","seq":1}`)
				if diff := cmp.Diff([]map[string]any{c.want}, p.closed(c.closes)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestFloodIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.join()
		go func() { // sends until the server closes the connection
			for range 1000 {
				if p.socket.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ack","seq":1}`)) != nil {
					return
				}
			}
		}()
		if before := p.closed(protocol.CloseRateLimited); len(before) != 1 || before[0]["code"] != "rate_limited" {
			t.Errorf("before the close: %v", before)
		}
		wait(time.Second)
		if n := len(s.sessions.last().said()); n > protocol.MessageBurst+1 {
			t.Errorf("%d of the messages reached the session", n)
		}
	})
}

func TestSteadyTalkerIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		p := s.join()
		for range 1000 {
			p.send(`{"type":"ping"}`)
			p.read()
			wait(time.Second / protocol.MessagesPerSecond)
		}
	})
}

func TestOverloadSpreadsThoseItTurnsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(c *Config) { c.JoinRate = 5 })
		var last float64
		for i := range 15 {
			p := s.dial()
			p.send(`{"type":"join","rtc":{"channel":"c","uid":1}}`)
			if i < 5 {
				if m := p.read(); m["type"] != protocol.TypeJoined {
					t.Fatalf("join %d of 5 a second: %v", i, m)
				}
				continue
			}
			before := p.closed(protocol.CloseOverload)
			if len(before) != 1 || before[0]["type"] != "reconnect" || before[0]["reason"] != "overload" {
				t.Fatalf("before the close: %v", before)
			}
			after := before[0]["afterMs"].(float64)
			if i > 5 && after-last < 190 {
				t.Errorf("two clients may come back within %v ms of each other", after-last)
			}
			last = after
		}
	})
}

func TestDrainSpreadsTheClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		const n = 10
		var peers []*peer
		for range n {
			peers = append(peers, s.join())
		}
		type left struct{ told, after time.Duration }
		moves := make(chan left, n)
		began := time.Now()
		for _, p := range peers {
			go func() {
				m := p.read()
				if m["type"] != "reconnect" || m["reason"] != "drain" {
					t.Errorf("told %v", m)
				}
				told := time.Duration(m["afterMs"].(float64) * float64(time.Millisecond))
				p.closed(protocol.CloseDrain) // the node closes the connection after the announced delay
				moves <- left{told, time.Since(began)}
			}()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.hub.Drain(ctx, 20*time.Second)
		if took := time.Since(began); took < 18*time.Second || took > 20*time.Second {
			t.Errorf("drained in %s", took)
		}
		perSecond := make(map[int]int)
		for range n {
			m := <-moves
			if m.after < m.told || m.after > m.told+time.Second {
				t.Errorf("closed after %s, told %s", m.after, m.told)
			}
			perSecond[int(m.told.Seconds())]++
		}
		for second, count := range perSecond {
			if count > 1 {
				t.Errorf("%d clients told to move in second %d", count, second)
			}
		}
		late := s.dial()
		late.send(`{"type":"join","rtc":{"channel":"c","uid":1}}`)
		if before := late.closed(protocol.CloseDrain); len(before) != 1 || before[0]["type"] != "reconnect" {
			t.Errorf("a late joiner was told %v", before)
		}
	})
}

// During a drain, clients that do not read delay neither the messages to other clients nor the end of the
// drain.
func TestDrainDespiteClientsThatDoNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		for range 640 {
			s.join() // this client does not read any more
		}
		const good = 50
		told := make(chan bool, good)
		for range good {
			p := s.join()
			go func() {
				m := p.read()
				p.closed(protocol.CloseDrain)
				told <- m["type"] == "reconnect"
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		s.hub.Drain(ctx, 20*time.Second)
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("drained in %s", took)
		}
		for range good {
			if !<-told {
				t.Error("one was closed without a word")
			}
		}
	})
}

func TestDrainIsOverWhenEverybodyHasMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		for range 3 {
			p := s.join()
			go func() {
				p.read()
				_ = p.socket.Close(websocket.StatusGoingAway, "")
			}()
		}
		began := time.Now()
		s.hub.Drain(t.Context(), time.Hour)
		if took := time.Since(began); took > time.Minute {
			t.Errorf("drained in %s", took)
		}
	})
}

func TestMetricsAreWellNamed(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newMetrics(registry, func() float64 { return 0 })
	m.closed(protocol.CloseLeft)
	m.closed(4999)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	if got := testutil.ToFloat64(m.closes.WithLabelValues("other")); got != 1 {
		t.Errorf("%v closes with unknown codes", got)
	}
}

func TestConfigErrorsNameTheSetting(t *testing.T) {
	good := func() Config {
		return Config{Sessions: &sessions{}, Access: openAccess{}, Origins: ownOrigin(t), Heartbeat: time.Second, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
	}
	for want, spoil := range map[string]func(*Config){
		"heartbeat: ": func(c *Config) { c.Heartbeat = time.Millisecond },
		"join-rate: ": func(c *Config) { c.JoinRate = -1 },
	} {
		c := good()
		spoil(&c)
		if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// The answer to an upgrade has no Date; other answers must have one (RFC 9110, section 6.6.1).
func TestDateOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		for request, want := range map[string]int{
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n": http.StatusUpgradeRequired,
			handshake:                           http.StatusSwitchingProtocols,
		} {
			c, err := s.pipes.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			go write(c, []byte(request))
			response, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != want || (response.Header.Get("Date") == "") != (want == http.StatusSwitchingProtocols) {
				t.Errorf("%d with %v; want %d", response.StatusCode, response.Header, want)
			}
			_ = c.Close()
		}
	})
}

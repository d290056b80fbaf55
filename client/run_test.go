package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"refresher/client"
	"refresher/internal/protocol"
)

// peer is the service's end of one connection, in a synctest bubble.
type peer struct {
	t      *testing.T
	socket *websocket.Conn
}

func (p *peer) send(text string) {
	p.t.Helper()
	if err := p.socket.Write(p.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Errorf("send: %v", err)
	}
}

// expect reads a message, which must contain the text `want`.
func (p *peer) expect(want string) {
	p.t.Helper()
	if _, data, err := p.socket.Read(p.t.Context()); err != nil || !strings.Contains(string(data), want) {
		p.t.Errorf("have %s, want %s; %v", data, want, err)
	}
}

// end makes the client leave, which ends its session.
func (p *peer) end() {
	p.send(`{"type":"ended","reason":"left","accessEndsAt":0}`)
	_ = p.socket.Close(websocket.StatusNormalClosure, "")
}

// run runs a client against a service that handles the nth connection by the function `serve`, until Run returns.
func run(t *testing.T, c client.Config, serve func(n int, p *peer)) error {
	t.Helper()
	return runIn(t.Context(), t, c, serve)
}

func runIn(ctx context.Context, t *testing.T, c client.Config, serve func(n int, p *peer)) error {
	t.Helper()
	n := 0
	c.URL, c.HTTPClient = "ws://refresher.test/v1/ws", inMemory(t, func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
		if err != nil {
			t.Error(err)
			return
		}
		defer socket.CloseNow() //nolint:errcheck // it may be closed already
		n++
		serve(n, &peer{t: t, socket: socket})
	})
	return client.New(c).Run(ctx)
}

// inMemory returns an HTTP client whose requests a handler serves, over in-memory connections, until the test
// ends.
func inMemory(t *testing.T, serve http.HandlerFunc) *http.Client {
	t.Helper()
	l := pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{ReadHeaderTimeout: time.Hour, Handler: serve}
	go func() { _ = server.Serve(l) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		l.accepted <- theirs
		return ours, nil
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return &http.Client{Transport: transport}
}

// pipes is a listener whose connections are pipes in memory.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// The clock of a synctest bubble begins at 946684800, the year 2000.
const joined = `{"type":"joined","session":"S","key":"K","seq":1,"tokens":{"rtc":{"token":"t","expiresAt":946685800}},"heartbeat":25,"renewBefore":10,"now":946684800000}`

// Until the app has accepted its first tokens there is no call, so pushed tokens have the action "join".
func TestTokensAreTheFirstUntilSomeWereTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first []bool
		apply := func(_ context.Context, b client.Tokens) error {
			if first = append(first, b.Action == client.Join); b.Seq == 1 {
				return errors.New("not today")
			}
			return nil
		}
		push := func(seq string) string {
			return `{"type":"token-privilege-will-expire","seq":` + seq + `,"action":"renew","cause":"nack","attempt":1,"tokens":{"rtc":{"token":"t","expiresAt":946685900}},"now":946684801000}`
		}
		if err := run(t, client.Config{Apply: apply}, func(_ int, p *peer) {
			p.expect(`"join"`)
			p.send(joined)
			p.expect(`"nack","seq":1`)
			p.send(push("2"))
			p.expect(`"ack","seq":2`)
			p.send(push("3"))
			p.expect(`"ack","seq":3`)
			p.end()
		}); err != nil {
			t.Error(err)
		}
		if len(first) != 3 || !first[0] || !first[1] || first[2] {
			t.Errorf("first: %v", first)
		}
	})
}

// The waits between attempts grow even if the service takes long to fail. A stable connection resets them.
func TestWaitsGrowUntilAConnectionHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silent = 12 // attempts
		attempts := 0
		var waits []time.Duration
		notice := func(n client.Event) {
			if n.Kind == client.Lost {
				waits = append(waits, n.After)
			}
		}
		apply := func(context.Context, client.Tokens) error { return nil }
		if err := run(t, client.Config{Apply: apply, Notify: notice}, func(n int, p *peer) {
			attempts = n
			switch n {
			case silent + 1:
				p.expect(`"join"`)
				p.send(joined)
				p.expect(`"ack"`)
				time.Sleep(6 * time.Second) // bubble
			case silent + 2:
				p.expect(`"resume"`)
				p.end()
			default:
				p.expect(`"join"`)
				_, _, _ = p.socket.Read(t.Context()) // until the client closes the connection
			}
		}); err != nil {
			t.Error(err)
		}
		if attempts != silent+2 || len(waits) != silent+1 {
			t.Fatalf("%d attempts, waits %v", attempts, waits)
		}
		sum := time.Duration(0)
		for _, w := range waits[:silent] {
			sum += w
		}
		// The waits add up to 76 s on average. If they did not grow, they would add up to 3 s on average, and at most
		// to 6 s.
		if sum < silent*time.Second || waits[silent] > 500*time.Millisecond {
			t.Errorf("waits %v", waits)
		}
	})
}

// After a close the client does what the table of close codes says, with and without a session.
func TestClientObeysCloseCodes(t *testing.T) {
	codes := []protocol.CloseCode{3000, 4999}
	for _, c := range protocol.CloseCodes() {
		codes = append(codes, c.Code)
	}
	messages := map[string]string{
		"":                 "",
		protocol.TypeError: `{"type":"error","code":"bad_request","message":"no"}`,
		protocol.TypeEnded: `{"type":"ended","reason":"revoked","accessEndsAt":0}`,
	}
	for _, code := range codes {
		for last, message := range messages {
			for _, live := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					want := code.After(last)
					if want == protocol.JoinAfresh && !live {
						want = protocol.Stop
					}
					if got := afterClose(t, code, message, live); got != want {
						t.Errorf("%d after %q, with a session %v: %s, want %s", code, last, live, got, want)
					}
				})
			}
		}
	}
}

// afterClose closes a client's first connection, and returns how the client reacts.
func afterClose(t *testing.T, code protocol.CloseCode, message string, live bool) protocol.AfterClose {
	t.Helper()
	then := protocol.Stop
	apply := func(context.Context, client.Tokens) error { return nil }
	err := run(t, client.Config{Apply: apply}, func(n int, p *peer) {
		if n > 1 {
			_, data, err := p.socket.Read(t.Context())
			if err != nil {
				t.Error(err)
			}
			if then = protocol.Retry; live && strings.Contains(string(data), `"join"`) {
				then = protocol.JoinAfresh
			}
			p.end()
			return
		}
		p.expect(`"join"`)
		if live {
			p.send(joined)
			p.expect(`"ack"`)
		}
		if message != "" {
			p.send(message)
		}
		if code == protocol.CloseAbnormal {
			_ = p.socket.CloseNow()
			return
		}
		_ = p.socket.Close(websocket.StatusCode(code), "")
	})
	if (err != nil) != (then == protocol.Stop) {
		t.Errorf("%d: Run returns %v, and the client went on with %s", code, err, then)
	}
	return then
}

// An error message after which the connection stayed open is not reported as the reason of a later close.
func TestOnlyTheLastMessageSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apply := func(context.Context, client.Tokens) error { return nil }
		err := run(t, client.Config{Apply: apply}, func(_ int, p *peer) {
			p.expect(`"join"`)
			p.send(`{"type":"error","code":"bad_request","message":"ack.seq: 7 was not sent yet"}`)
			p.send(`{"type":"pong","now":946684800000}`)
			_ = p.socket.Close(websocket.StatusCode(protocol.CloseForbidden), "")
		})
		if closed, ok := errors.AsType[*client.DeniedError](err); !ok || closed.Code != "" {
			t.Errorf("Run returns %v", err)
		}
	})
}

// An invalid Config makes Run fail at once; a valid one is sent in the join.
func TestConfig(t *testing.T) {
	for want, c := range map[string]client.Config{
		"url: want a scheme, a host": {URL: "127.0.0.1:8080"},
		"tokenFormat: ":              {URL: "ws://127.0.0.1/v1/ws", TokenFormat: "008"},
	} {
		if err := client.New(c).Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, have %v", want, err)
		}
	}
	for want, c := range map[string]client.Config{
		`{"type":"join","auth":"jwt","rtc":{"channel":"c","uid":0,"role":"subscriber"}}`: {
			RTC: &client.RTC{Channel: "c"}, Credential: func(context.Context) (string, error) { return "jwt", nil },
		},
		`{"type":"join","rtc":{"channel":"c","account":"ana","role":"publisher"},"rtm":{"userId":"ana"},"chat":{"userId":"a"},"ttl":60,"tokenFormat":"007-single"}`: {
			RTC: &client.RTC{Channel: "c", Account: "ana", Publisher: true}, RTM: "ana", Chat: "a", TTL: time.Minute, TokenFormat: "007-single",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			if err := run(t, c, func(_ int, p *peer) {
				p.expect(want)
				p.end()
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// The credential is fetched for each join, but not for a resume. If fetching it fails, the client retries as
// after a lost connection.
func TestCredentialIsForAJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetched, failed := 0, 0
		c := client.Config{
			Credential: func(context.Context) (string, error) {
				if fetched++; fetched == 1 {
					return "", errors.New("the back end is away")
				}
				return fmt.Sprint("jwt", fetched), nil
			},
			Apply: func(context.Context, client.Tokens) error { return nil },
			Notify: func(e client.Event) {
				if e.Kind == client.Lost && strings.Contains(e.Err.Error(), "the back end is away") {
					failed++
				}
			},
		}
		if err := run(t, c, func(n int, p *peer) {
			switch n {
			case 1:
				p.expect(`"auth":"jwt2"`)
			case 2:
				p.expect(`"auth":"jwt3"`)
				p.send(joined)
				p.expect(`"ack"`)
			case 3:
				p.expect(`"resume"`)
				_ = p.socket.Close(websocket.StatusCode(protocol.CloseUnknownSession), "")
			default:
				p.expect(`"auth":"jwt4"`)
				p.end()
			}
		}); err != nil || failed != 1 {
			t.Errorf("%v; %d failures", err, failed)
		}
	})
}

// A slow Apply delays only its own ack. When Run's ctx is done, Apply's ctx is done too, and the connection
// is closed with a close frame.
func TestApplyMayTakeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := client.Config{Apply: func(ctx context.Context, tokens client.Tokens) error {
			if tokens.Action == client.Join {
				time.Sleep(time.Minute) // bubble
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		if err := runIn(ctx, t, c, func(_ int, p *peer) {
			p.expect(`"join"`)
			p.send(joined)
			for range 2 {
				p.expect(`"ping"`)
				p.send(`{"type":"pong","now":946684800000}`)
			}
			p.expect(`"ack","seq":1`)
			p.send(`{"type":"token-privilege-will-expire","seq":2,"action":"renew","cause":"schedule","attempt":1,"tokens":{"rtc":{"token":"t","expiresAt":946685900}},"now":946684801000}`)
			synctest.Wait()
			cancel()
			if _, _, err := p.socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("closed by %v", err)
			}
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("Run returns %v", err)
		}
	})
}

// If the service tells the client to reconnect, the client opens a new connection at the specified time.
func TestClientMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		c := client.Config{
			Apply:  func(context.Context, client.Tokens) error { return nil },
			Notify: func(e client.Event) { events = append(events, string(e.Kind)+" "+e.Session) },
		}
		began := time.Now()
		if err := run(t, c, func(n int, p *peer) {
			if n == 2 {
				p.expect(`"resume","session":"S","key":"K"`)
				p.end()
				return
			}
			p.expect(`"join"`)
			p.send(joined)
			p.expect(`"ack"`)
			p.send(`{"type":"reconnect","afterMs":3000,"reason":"drain"}`)
			if _, _, err := p.socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
				t.Errorf("closed by %v", err)
			}
		}); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if want := []string{"connected S", "moved S"}; !slices.Equal(events, want) {
			t.Errorf("events %q, want %q", events, want)
		}
	})
}

// After a suspension, the program does not apply tokens that were pushed meanwhile, since they may have
// expired. It resumes and receives valid tokens.
func TestTokensOfAFrozenProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var applied []uint64
		c := client.Config{
			Apply: func(_ context.Context, b client.Tokens) error {
				applied = append(applied, b.Seq)
				return nil
			},
			Notify: func(e client.Event) {
				if e.Kind == client.Refused {
					time.Sleep(45 * time.Second) // bubble: blocks the loop, as in a suspended process
				}
			},
		}
		if err := run(t, c, func(n int, p *peer) {
			if n == 1 {
				p.expect(`"join"`)
				p.send(joined)
				p.expect(`"ack","seq":1`)
				p.send(`{"type":"error","code":"rate_limited","message":"stand still"}`)
				p.send(`{"type":"token-privilege-will-expire","seq":2,"action":"renew","cause":"schedule","attempt":1,"tokens":{"rtc":{"token":"t","expiresAt":946684812}},"now":946684800000}`)
				_, _, _ = p.socket.Read(t.Context()) // until the client closes the connection
				return
			}
			p.expect(`"expiresAt":946685800,"seq":1`)
			p.send(`{"type":"joined","session":"S","key":"K","resumed":true,"action":"rejoin","seq":3,"tokens":{"rtc":{"token":"t","expiresAt":946684900}},"heartbeat":25,"renewBefore":10,"now":946684846000}`)
			p.expect(`"ack","seq":3`)
			p.end()
		}); err != nil {
			t.Error(err)
		}
		if want := []uint64{1, 3}; !slices.Equal(applied, want) {
			t.Errorf("applied %v, want %v", applied, want)
		}
	})
}

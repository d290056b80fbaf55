package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"refresher/client"
	"refresher/internal/app/apptest"
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

// join expects a join, and gives the client its first tokens.
func (p *peer) join() {
	p.t.Helper()
	p.expect(`"join"`)
	p.send(joined)
	p.expect(`"ack","seq":1`)
}

func (p *peer) closed(status websocket.StatusCode) {
	p.t.Helper()
	if _, data, err := p.socket.Read(p.t.Context()); websocket.CloseStatus(err) != status {
		p.t.Errorf("read %s; closed by %v, want %d", data, err, status)
	}
}

// end ends the session as after a leave, so that Run returns nil.
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
	if c.Apply == nil {
		c.Apply = func(context.Context, client.Tokens) error { return nil }
	}
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

func inMemory(t *testing.T, serve http.HandlerFunc) *http.Client {
	t.Helper()
	network := apptest.NewNetwork()
	listener, err := network.Listen("tcp", "refresher.test:80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Hour, Handler: serve}
	go func() { _ = server.Serve(listener) }()
	transport := &http.Transport{DialContext: network.Dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return &http.Client{Transport: transport}
}

// The clock of a synctest bubble begins at 946684800, the year 2000.
const joined = `{"type":"joined","session":"S","key":"K","seq":1,"tokens":{"rtc":{"token":"t","expiresAt":946685800}},"heartbeat":25,"renewBefore":10,"now":946684800000}`

func push(seq int, expiresAt int64) string {
	const format = `{"type":"token-privilege-will-expire","seq":%d,"action":"renew","cause":"schedule","attempt":1,"tokens":{"rtc":{"token":"t","expiresAt":%d}},"now":946684800000}`
	return fmt.Sprintf(format, seq, expiresAt)
}

// The error of Run has the close code and the last message. Package internal/client tests after which codes Run ends.
func TestRunEndsWithTheReason(t *testing.T) {
	until := time.Unix(946688400, 0)
	for name, c := range map[string]struct {
		message string
		code    protocol.CloseCode
		want    error
		text    string
	}{
		"refused":            {`{"type":"error","code":"forbidden","message":"no"}`, protocol.CloseForbidden, &client.DeniedError{CloseCode: 4403, Code: "forbidden", Message: "no"}, "refused with 4403: forbidden: no"},
		"without a message":  {`{"type":"pong"}`, protocol.CloseForbidden, &client.DeniedError{CloseCode: 4403}, "closed with 4403"},
		"ended":              {`{"type":"ended","reason":"revoked","accessEndsAt":946688400}`, protocol.CloseEnded, &client.EndedError{Reason: "revoked", AccessEndsAt: until}, "session ended: revoked; access ends at 2000-01-01T01:00:00Z"},
		"ended, and no more": {`{"type":"ended","reason":"expired","accessEndsAt":0}`, protocol.CloseEnded, &client.EndedError{Reason: "expired"}, "session ended: expired"},
	} {
		synctest.Test(t, func(t *testing.T) {
			err := run(t, client.Config{}, func(_ int, p *peer) {
				p.expect(`"join"`)
				p.send(c.message)
				_ = p.socket.Close(websocket.StatusCode(c.code), "")
			})
			if !reflect.DeepEqual(err, c.want) || err.Error() != c.text {
				t.Errorf("%s: %#v, want %#v", name, err, c.want)
			}
		})
	}
}

// With an invalid Config, Run fails at once. The fields of a valid Config are sent in the join message.
func TestConfig(t *testing.T) {
	for want, c := range map[string]client.Config{
		"url: want a scheme and a host": {URL: "127.0.0.1:8080"},
		"tokenFormat: ":                 {URL: "ws://127.0.0.1/v1/ws", TokenFormat: "008"},
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

// A Lost event says how the connection ended: with which close code, by which fault of the network, or by silence.
func TestLostSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lost []string
		c := client.Config{Notify: func(e client.Event) {
			if e.Kind == client.Lost {
				lost = append(lost, e.Err.Error())
			}
		}}
		if err := run(t, c, func(n int, p *peer) {
			switch n {
			case 1:
				p.join()
				_ = p.socket.CloseNow()
			case 2:
				p.expect(`"resume"`)
				_ = p.socket.Close(websocket.StatusCode(protocol.CloseOverload), "busy")
			case 3:
				p.expect(`"resume"`)
				p.send(joined)
				for err := error(nil); err == nil; { // reads the client's pings, and answers none
					_, _, err = p.socket.Read(t.Context())
				}
			default:
				p.expect(`"resume"`)
				p.end()
			}
		}); err != nil {
			t.Error(err)
		}
		if want := []string{"the connection broke: EOF", "closed with 1013: busy", "no answer of the service in time"}; !slices.Equal(lost, want) {
			t.Errorf("lost %q, want %q", lost, want)
		}
	})
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
			p.send(push(2, 946685900))
			synctest.Wait()
			cancel()
			p.closed(websocket.StatusGoingAway)
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
			Notify: func(e client.Event) { events = append(events, string(e.Kind)+" "+e.Session) },
		}
		began := time.Now()
		if err := run(t, c, func(n int, p *peer) {
			if n == 2 {
				p.expect(`"resume","session":"S","key":"K"`)
				p.end()
				return
			}
			p.join()
			p.send(`{"type":"reconnect","afterMs":3000,"reason":"drain"}`)
			p.closed(websocket.StatusGoingAway)
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
					time.Sleep(45 * time.Second) // bubble: Notify blocks the client, as if its process were suspended
				}
			},
		}
		if err := run(t, c, func(n int, p *peer) {
			if n == 1 {
				p.join()
				p.send(`{"type":"error","code":"rate_limited","message":"stand still"}`)
				p.send(push(2, 946684812))
				_, _, _ = p.socket.Read(t.Context()) // returns when the client closes the connection
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

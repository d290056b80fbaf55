package listen_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/test/redistest"
)

// withTLS makes a node serve TLS.
func withTLS(t *testing.T) func(c *app.Config) {
	return func(c *app.Config) {
		apptest.WithCredentials(c)
		c.TLSCertFile, c.TLSKeyFile = redistest.NewAuthority(t).Issue("calls.test")
	}
}

// dial connects to a node of the simulated network, until the test ends.
func dial(g *apptest.LoggedNode) net.Conn {
	g.T.Helper()
	conn, err := g.Network.Dial(g.T.Context(), "", apptest.ServiceAddress)
	if err != nil {
		g.T.Fatal(err)
	}
	g.T.Cleanup(func() { _ = conn.Close() })
	return conn
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// Clients that keep a connection busy without completing a request are disconnected in time.
func TestSlowClientsAreCut(t *testing.T) {
	const upgrade = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	const endless = "Content-Length: 5000\r\n\r\n{"
	hello := string(apptest.Frame(apptest.JoinText))
	for name, c := range map[string]struct {
		first, drip string        // the client sends `first` at once, and then `drip` byte by byte, again and again
		every       time.Duration // time between two bytes of drip
		most        time.Duration // time after which the connection must be closed at the latest
	}{
		"not a word":      {"", "", 0, 11 * time.Second},
		"headers":         {"GET /ping HTTP/1.1\r\nHost: x\r\n", "X: x\r\n", time.Second, 11 * time.Second},
		"one long header": {"GET /ping HTTP/1.1\r\nHost: x\r\nX: ", "x", time.Second / 10, 11 * time.Second},
		"a body":          {"POST /getToken HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $CREDENTIAL\r\n" + endless, " ", time.Second, 31 * time.Second},
		// The server refuses these requests before it reads their body.
		"no credential":     {"POST /getToken HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a bad credential":  {"POST /v1/revocations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a made-up key":     {"POST /v1/sessions/S/renew HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a leave's key":     {"POST /v1/sessions/S/leave HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 6 * time.Second},
		"a body of a GET":   {"GET /ping HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"a body of no path": {"POST /nowhere HTTP/1.1\r\nHost: x\r\n" + endless, " ", time.Second / 10, 2 * time.Second},
		"nothing after":     {"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", "", 0, 651 * time.Second},
		"no join":           {upgrade, "", 0, 20 * time.Second},
		"a join in drips":   {upgrade + hello[:6], " ", time.Second, 20 * time.Second},
		"pings and no end":  {upgrade, string([]byte{0x89, 0x80, 0, 0, 0, 0}), time.Second, 20 * time.Second},
	} {
		for _, secured := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				change := apptest.WithCredentials
				if secured {
					change = withTLS(t)
				}
				g := apptest.NewLoggedNode(t, change)
				conn := dial(g)
				if secured && c.first != "" {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
				start := time.Now()
				var writing sync.WaitGroup
				writing.Go(func() {
					_, err := io.WriteString(conn, strings.Replace(c.first, "$CREDENTIAL", apptest.Pass(nil), 1))
					for i := 0; err == nil && c.drip != ""; i++ {
						time.Sleep(c.every) // bubble
						_, err = io.WriteString(conn, c.drip[i%len(c.drip):][:1])
					}
				})
				_, _ = io.Copy(io.Discard, conn)
				if took := time.Since(start); took > c.most {
					t.Errorf("%s, TLS %t: cut off after %s", name, secured, took)
				}
				if n := g.Metrics()["refresher_sessions"]; n != 0 {
					t.Errorf("%s, TLS %t: %v sessions", name, secured, n)
				}
				_ = conn.Close()
				writing.Wait()
			})
		}
	}
}

func TestClientThatDoesNotReadIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dial(apptest.NewLoggedNode(t, apptest.WithCredentials))
		write(t, conn, "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
		// The server allows 30 s for an answer, so after 31 s the connection must be closed.
		time.Sleep(31 * time.Second) // bubble
		if text, err := io.ReadAll(conn); err != nil || len(text) != 0 {
			t.Errorf("it still had %q, %v", text, err)
		}
	})
}

// An idle connection is kept for longer than the 600 s of Google's load balancers. Otherwise a balancer could
// send a request on a connection that the node is just closing.
func TestIdleConnectionOutlivesBalancers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 650 * time.Second
		conn := dial(apptest.NewLoggedNode(t, func(c *app.Config) { c.IdleTimeout = idle }))
		reader := bufio.NewReader(conn)
		for range 2 {
			write(t, conn, "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
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
			t.Error(err)
		}
	})
}

// Requests that do not end are cut off when the service stops. The stop must succeed nevertheless; apptest checks that.
func TestSlowRequestDoesNotHoldUpTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(*app.Config) {})
		conn := dial(g)
		write(t, conn, "POST /getToken HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
		synctest.Wait()
		began := time.Now()
		g.Stop()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("stopped after %s", took)
		}
		if _, err := io.ReadAll(conn); err != nil {
			t.Error(err)
		}
	})
}

// Of many failed TLS handshakes, a node logs only one. TestServerLog tests the limits for all kinds of log lines.
func TestFailedHandshakesDoNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, withTLS(t))
		for i := range 50 {
			conn := dial(g)
			write(t, conn, fmt.Sprintf("%d is no handshake, whatever it may be", i))
			_, _ = io.Copy(io.Discard, conn) // the server hangs up after it has logged the failure
		}
		if log := g.Log.Take(); strings.Count(log, "TLS handshake error") != 1 {
			t.Errorf("of 50 handshakes that fail the log has %s", log)
		}
	})
}

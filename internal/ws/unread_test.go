package ws

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// The kernel buffers little data for a client that does not read. The test uses real sockets, since pipes have no
// buffer.
func TestLittleIsKeptForAClientThatDoesNotRead(t *testing.T) {
	for name, serve := range map[string]func(http.Handler) *httptest.Server{"plain": httptest.NewServer, "TLS": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			sessions := &sessions{}
			hub := newHub(t, sessions, nil)
			hub.writeTimeout = 200 * time.Millisecond
			server := serve(hub)
			defer server.Close()
			defer hub.Close()
			client := server.Client()
			transport := client.Transport.(*http.Transport)
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, address)
				if err == nil {
					err = c.(*net.TCPConn).SetReadBuffer(4 << 10)
				}
				return c, err
			}
			socket, _, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{HTTPClient: client})
			if err != nil {
				t.Fatal(err)
			}
			defer socket.CloseNow() //nolint:errcheck // it was cut off
			p := &peer{t: t, socket: socket}
			p.send(joinText)
			p.expect(protocol.TypeJoined)
			const size = 1000
			push := session.Push{Seq: 2, Tokens: session.Tokens{RTC: strings.Repeat("t", size)}}
			taken, began := 0, time.Now()
			for sessions.last().client.Push(push) == nil {
				taken += size
			}
			if taken > 100<<10 {
				t.Errorf("%d bytes were taken for a client that reads nothing", taken)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it was cut off after %s", took)
			}
		})
	}
}

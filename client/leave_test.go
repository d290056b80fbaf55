package client_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"

	"refresher/client"
	"refresher/internal/protocol"
)

func TestLeaveWithoutAConnection(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		refused int // events
	}{
		"the service takes it":    {http.StatusNoContent, 0},
		"the service is too busy": {http.StatusServiceUnavailable, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts, left, refused := 0, 0, 0
				var leaver *client.Client
				served := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/calls/v1/sessions/S/leave" {
						left++
						body, _ := io.ReadAll(r.Body)
						if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer K" || string(body) != `{"seq":1,"expiresAt":946685800}` {
							t.Errorf("%s %v %s", r.Method, r.Header, body)
						}
						w.WriteHeader(c.status)
						return
					}
					if attempts++; attempts > 1 {
						http.Error(w, "no WebSocket gets through", http.StatusBadGateway)
						return
					}
					socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
					if err != nil {
						t.Error(err)
						return
					}
					p := &peer{t: t, socket: socket}
					p.join()
					_ = socket.CloseNow()
				})
				leaver = client.New(client.Config{
					URL: "ws://refresher.test/calls/v1/ws", RTC: &client.RTC{Channel: "c"}, HTTPClient: served,
					Apply: func(context.Context, client.Tokens) error { return nil },
					Notify: func(e client.Event) {
						switch e.Kind {
						case client.Lost:
							leaver.Leave()
						case client.Refused:
							refused++
						default:
						}
					},
				})
				if err := leaver.Run(t.Context()); err != nil {
					t.Error(err)
				}
				if left != 1 || refused != c.refused {
					t.Errorf("left %d times, %d refusals; want %d", left, refused, c.refused)
				}
			})
		})
	}
}

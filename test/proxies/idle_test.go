//go:build programs

package proxies

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"refresher/test/nodetest"
)

// A call that sends only heartbeats lives while the proxy's time-out is longer than the
// interval of heartbeats, and is cut otherwise. Both are scaled down: the heartbeat from 50 s
// to 1 s, and the time-out from the 150 s of the files to 3 s.
func TestIdle(t *testing.T) {
	each(t, func(t *testing.T, k *kind) {
		nodes := nodetest.StartFleet(t, 1, "--heartbeat=1s")
		if k == &caddy { // Caddy has no such time-out; its idle time-out is for HTTP
			p := start(t, k, nodes, "idle 30s", "idle 2s")
			if err := p.idle(t, 4); err != nil {
				t.Errorf("an idle call ended before its fourth heartbeat: %v", err)
			}
			return
		}
		t.Run("time-out of three heartbeats", func(t *testing.T) {
			t.Parallel()
			p := start(t, k, nodes, "150s", "3s")
			if err := p.idle(t, 5); err != nil {
				t.Errorf("an idle call ended before its fifth heartbeat: %v", err)
			}
		})
		t.Run("time-out of half a heartbeat", func(t *testing.T) {
			t.Parallel()
			p := start(t, k, nodes, "150s", "500ms")
			if err := p.idle(t, 2); err == nil {
				t.Error("an idle call outlived a time-out that is shorter than a heartbeat")
			}
		})
	})
}

// idle joins a call and sends this many heartbeats. It returns the error that ended the
// connection, if any.
func (p *proxy) idle(t *testing.T, heartbeats int) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), nodetest.Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, p.url("wss", "/v1/ws"), &websocket.DialOptions{HTTPClient: &http.Client{Transport: p.transport("127.0.0.2")}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	say := func(message map[string]any) (map[string]any, error) {
		if err := wsjson.Write(ctx, conn, message); err != nil {
			return nil, err
		}
		var answer map[string]any
		return answer, wsjson.Read(ctx, conn, &answer)
	}
	joined, err := say(map[string]any{"type": "join", "rtc": map[string]any{"channel": "c", "uid": 1}})
	if err != nil || joined["type"] != "joined" {
		t.Fatalf("join: %v, %v", joined, err)
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for i := range heartbeats {
		<-ticker.C
		pong, err := say(map[string]any{"type": "ping"})
		if err != nil {
			return fmt.Errorf("heartbeat %d: %w", i+1, err)
		}
		if pong["type"] != "pong" {
			t.Fatalf("heartbeat %d was answered with %v", i+1, pong)
		}
	}
	return nil
}

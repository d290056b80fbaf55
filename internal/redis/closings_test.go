package redis_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/test/redistest"
)

// Redis has TLS, asks for a certificate, and closes the connections of the node, as
// it does with idle ones. All clients come back then, and no connection is found closed.
func TestResumesAfterRedisHasClosedConnections(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	redis := redistest.StartTLSFor(t, authority, "127.0.0.1")
	log := &closings{}
	n := apptest.StartLogged(t, func(c *app.Config) {
		c.Redis.URL, c.Redis.CAFile = redis.URL(), authority.CAFile
		c.Redis.CertFile, c.Redis.KeyFile = authority.Issue("refresher")
	}, log)
	var calls [48]apptest.Ticket
	for i := range calls {
		ws := n.Dial()
		ws.Send(fmt.Sprintf(`{"type":"join","rtm":{"userId":"u%d"}}`, i))
		joined := ws.Expect("joined")
		calls[i] = apptest.Ticket{Session: joined.Session, Key: joined.Key}
		_ = ws.CloseNow()
	}
	for range 3 {
		var returning sync.WaitGroup
		for i := range calls {
			ws := n.Dial()
			returning.Go(func() {
				ws.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, calls[i].Session, calls[i].Key))
				if joined, _ := ws.Next(); joined.Type == "joined" {
					calls[i].Key = joined.Key
				} else {
					t.Errorf("resume: %+v", joined)
				}
				_ = ws.CloseNow()
			})
		}
		returning.Wait()
		redis.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}
	if lines := log.all(); len(lines) > 0 {
		t.Errorf("connections that were closed: %q", lines)
	}
	if _, metrics := n.Ops("/metrics"); strings.Contains(metrics, `refresher_store_operation_seconds_count{operation="acquire"} 0`) {
		t.Error("Redis was not asked")
	}
}

// closings keeps the lines that tell of a connection to Redis that was closed.
type closings struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (c *closings) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range []string{"EOF", "reset by peer", "broken pipe"} {
		if text := string(line); strings.Contains(text, "the store") && strings.Contains(text, kind) {
			c.lines = append(c.lines, text)
		}
	}
	return len(line), nil
}

func (c *closings) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines
}

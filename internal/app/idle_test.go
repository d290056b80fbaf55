package app

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"refresher/test/redistest"
)

// Redis has TLS, asks for a certificate, and closes connections that are idle for a
// second. Clients that come back after a pause find the node able to ask it.
func TestResumesAfterRedisHasClosedIdleConnections(t *testing.T) {
	t.Parallel()
	authority := redistest.NewAuthority(t)
	redis := redistest.StartTLSFor(t, authority, "127.0.0.1", "timeout 1", "loglevel verbose")
	n := startNode(t, func(c *Config) {
		c.RedisURL, c.RedisCAFile = redis.URL(), authority.CAFile
		c.RedisCertFile, c.RedisKeyFile = authority.Issue("refresher")
	})
	var calls [48]ticket
	for i := range calls {
		ws := n.dial()
		ws.send(fmt.Sprintf(`{"type":"join","rtm":{"userId":"u%d"}}`, i))
		joined := ws.expect("joined")
		calls[i] = ticket{joined.Session, joined.Key}
		_ = ws.CloseNow()
	}
	for range 3 {
		began := time.Now()
		var returning sync.WaitGroup
		for i := range calls {
			ws := n.dial()
			returning.Go(func() {
				ws.send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, calls[i].session, calls[i].key))
				if joined, _ := ws.read(); joined.Type == "joined" {
					calls[i].key = joined.Key
				} else {
					t.Errorf("resume: %+v", joined)
				}
				_ = ws.CloseNow()
			})
		}
		returning.Wait()
		redis.AwaitLog(began, slices.Repeat([]string{"Closing idle client"}, 8)...)
	}
	_, metrics := n.ops("/metrics")
	for _, operation := range []string{"grip", "save", "sweep"} {
		if want := `refresher_store_errors_total{operation="` + operation + `"} 0`; !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if want := `refresher_store_operation_seconds_count{operation="grip"} 144`; !strings.Contains(metrics, want) {
		t.Errorf("no %s", want)
	}
}

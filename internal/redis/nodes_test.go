package redis

import (
	"strconv"
	"testing"
	"time"

	"refresher/internal/store"
)

func TestStatusExpires(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	for _, step := range []struct {
		name string
		do   func()
		kept bool
	}{
		{"SetStatus", func() { must(t, s.SetStatus(within(t), "a", "topic", "ready")) }, true},
		{"another node's sweep", func() { s.swept(t, "b") }, false},
		{"the node's sweep", func() { s.swept(t, "a") }, true},
	} {
		server.Do("PEXPIRE", s.keys.status("a"), "5000")
		step.do()
		ms, err := strconv.ParseInt(server.Do("PTTL", s.keys.status("a")), 10, 64)
		left := time.Duration(ms) * time.Millisecond
		if kept := left > store.NodeKept-patience && left <= store.NodeKept; err != nil || kept != step.kept {
			t.Errorf("after %s, it is kept for %s, %v", step.name, left, err)
		}
	}
}

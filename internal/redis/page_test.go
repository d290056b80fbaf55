package redis

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
)

func TestPageShowsARecordAsWritten(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	r := storetest.Renewed("KOCFIET3BFSJHODNATNRLFENCM", "refresher-7f9c4d8b5-x-A2B3C4D5", session.Identity{
		RTC: &session.RTC{Channel: "consultation-000007", UID: 1_000_000_007, Role: session.Publisher},
		RTM: &session.RTM{UserID: "user-00000007"},
	}, time.UnixMilli(1_800_000_000_450))
	s.saved(t, store.Done, r)
	shard := store.ShardOf(r.Session)
	want := fmt.Sprintf("$ redis-cli HGETALL '%s'\n", s.keys.session(shard, r.Session))
	for i, line := range strings.Split(server.Do("HGETALL", s.keys.session(shard, r.Session)), "\n") {
		want += fmt.Sprintf("%2d) %q\n", i+1, line)
	}
	want += fmt.Sprintf("$ redis-cli ZSCORE '%s' %s\n%q\n", s.keys.due[shard], r.Session, server.Do("ZSCORE", s.keys.due[shard], r.Session))
	page, err := os.ReadFile("../../docs/understand/redis.md")
	must(t, err)
	if !strings.Contains(string(page), want) {
		t.Errorf("docs/understand/redis.md does not have this example:\n%s", want)
	}
}

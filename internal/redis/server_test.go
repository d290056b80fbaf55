package redis

import (
	"slices"
	"strings"
	"testing"

	"refresher/test/redistest"
)

const evicting = "Redis may evict sessions"

// TestEviction checks that one warning is logged for each server that may evict sessions,
// with the server's policy.
func TestEviction(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	for i, policy := range []string{"noeviction", "volatile-lru", "allkeys-random"} {
		server.Do("CONFIG", "SET", "maxmemory-policy", policy)
		server.Do("CONFIG", "REWRITE")
		server.Kill()
		server.Restart()
		s.again(t)
		for range 3 {
			s.swept(t, "a")
		}
		if lines := s.log.lines(evicting); len(lines) != i {
			t.Errorf("%s: warned %d times: %s", policy, len(lines), lines)
		}
	}
	if lines := s.log.lines("maxmemory_policy=allkeys-random"); len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") {
		t.Error(lines)
	}
}

// TestUnpublished checks that one warning is logged for each generation of the data and each
// channel if the Redis user may not publish.
func TestUnpublished(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "user default off")
	for without, want := range map[string][]string{
		"+publish ":               {"refresher:node:", "refresher:revocations"},
		"&refresher:node:* ":      {"refresher:node:"},
		"&refresher:revocations ": {"refresher:revocations"},
		"+subscribe ":             nil,
	} {
		s := limited(t, server, strings.Replace(acl+" ", without, "", 1))
		for round := 1; round <= 2; round++ {
			server.Do("FLUSHALL")
			for range 3 {
				s.swept(t, "a")
			}
			for _, channel := range []string{"refresher:node:", "refresher:revocations"} {
				lines := s.log.lines("may not publish")
				lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.Contains(line, "channel="+channel+" ") })
				if wanted := slices.Contains(want, channel); len(lines) != round && wanted || len(lines) > 0 && !wanted {
					t.Errorf("without %s: warned of %s %d times after %d", without, channel, len(lines), round)
				}
			}
		}
	}
}

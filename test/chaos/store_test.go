package chaos

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"refresher/test/redistest"
)

// Beginnings of log lines in which a node reports about its store.
const (
	storeAway = "the store cannot be reached"
	storeBack = "the store is back"
	// storeSilent is logged for a resume if the store did not answer in time.
	storeSilent = "the store does not answer"
	// storeRewritten is logged when the store was unreachable, and when it may have lost data
	// without having been unreachable, as in a failover.
	storeRewritten = "writing sessions to the store again"
)

// demandStoreUp demands that every node is ready and reports its store as reachable or
// unreachable, as up says.
func (w *world) demandStoreUp(up bool) {
	w.t.Helper()
	want := 0.0
	if up {
		want = 1
	}
	for _, n := range w.fleet {
		status, text := n.Get("/readyz")
		// A node that started without its store cannot know the revocations.
		starting := !up && status == http.StatusServiceUnavailable && strings.Contains(text, "starting")
		if !starting && (status != http.StatusOK || strings.Contains(text, "degraded") == up) {
			w.t.Errorf("%s: /readyz answers %d, %q; the store is up: %v", n.Name(), status, text, up)
		}
		if value := n.Metric("refresher_store_up"); value != want {
			w.t.Errorf("%s: refresher_store_up is %v; want %v", n.Name(), value, want)
		}
	}
}

// demandStored demands that the schedule in Redis has every session and no other.
func (w *world) demandStored(server func(key string) *redistest.Server) {
	w.t.Helper()
	stored := 0
	for shard := range shards {
		key := dueKey(shard)
		reply := server(key).Do("ZCARD", key)
		n, err := strconv.Atoi(reply)
		if err != nil {
			w.t.Fatalf("ZCARD %s: %s", key, reply)
		}
		stored += n
	}
	if stored != callers {
		w.t.Errorf("Redis has %d sessions; want %d", stored, callers)
	}
}

// shards is the number of parts of the schedule.
const shards = 64

func dueKey(shard int) string { return fmt.Sprintf("{refresher:%02d}:due", shard) }

// on returns the given server for every key.
func on(s *redistest.Server) func(key string) *redistest.Server {
	return func(string) *redistest.Server { return s }
}

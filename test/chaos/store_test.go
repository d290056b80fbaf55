package chaos

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"refresher/test/redistest"
)

// How what a node logs of its store begins.
const (
	storeAway = "the store cannot be reached"
	storeBack = "the store is back"
	// storeSilent is of a resume that the store did not answer in time.
	storeSilent = "the store does not answer"
	// storeRewritten comes of a store that was away, and of one that may have
	// lost something without having been missed, as in a failover.
	storeRewritten = "writing sessions to the store again"
)

// demandStoreUp demands that every node is ready, and says of its store that it
// is there, or that it is not.
func (w *world) demandStoreUp(up bool) {
	w.t.Helper()
	want := 0.0
	if up {
		want = 1
	}
	for _, n := range w.fleet {
		status, text := n.Get("/readyz")
		// One that started without its store cannot know what was revoked.
		starting := !up && status == http.StatusServiceUnavailable && strings.Contains(text, "starting")
		if !starting && (status != http.StatusOK || strings.Contains(text, "degraded") == up) {
			w.t.Errorf("%s: /readyz answers %d, %q; the store is up: %v", n.Name(), status, text, up)
		}
		if value := n.Metric("refresher_store_up"); value != want {
			w.t.Errorf("%s: refresher_store_up is %v; want %v", n.Name(), value, want)
		}
	}
}

// demandStored demands that Redis has every session in its schedule, and no
// other.
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

// shards is how many parts the schedule is kept in.
const shards = 64

func dueKey(shard int) string { return fmt.Sprintf("{refresher:%02d}:due", shard) }

// on is a Redis that has all keys on one server.
func on(s *redistest.Server) func(key string) *redistest.Server {
	return func(string) *redistest.Server { return s }
}

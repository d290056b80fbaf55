package chaos

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/nodetest/calls"
	"refresher/test/redistest"
)

// serviceURL is the address that the calls use. The name in it is never looked up: the fleet chooses the node of each
// connection.
const serviceURL = "ws://localhost/v1/ws"

// ttl is the lifetime of the tokens, unless a scenario sets another. Renewals are due after 3 to 6 s, so at least 6 s
// are left to get over a fault.
const ttl = 12 * time.Second

// world has a fleet of nodes, and calls that go on while the nodes and their Redis fail.
type world struct {
	t     *testing.T
	fleet nodetest.Fleet
	calls *calls.Calls

	began  time.Time
	faults int
}

func newWorld(t *testing.T, nodes int, ttl time.Duration, flags ...string) *world {
	t.Helper()
	w := &world{t: t, began: time.Now(), fleet: nodetest.StartFleet(t, nodes, flags...)}
	w.calls = calls.Hold(t, calls.Config{Count: callers, TTL: ttl, URL: serviceURL, Transport: w.fleet.Transport})
	return w
}

// say logs what happens, with the time since the start.
func (w *world) say(format string, args ...any) {
	w.t.Helper()
	w.t.Logf("%5.1fs  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

// fault logs the fault that is about to happen, and returns the tallies of the calls. From then on, the nodes' method
// Await ignores earlier log lines.
func (w *world) fault(format string, args ...any) []calls.Tally {
	w.t.Helper()
	w.say(format, args...)
	w.faults++
	w.fleet.Mark()
	return w.calls.Mark()
}

// pass waits for a part of the scenario's duration.
func (w *world) pass(part float64) {
	w.t.Helper()
	w.wait(time.Duration(part * float64(length)))
}

// wait lets time pass, for a fault that only time can cause, such as the end of a lease.
func (w *world) wait(d time.Duration) {
	w.t.Helper()
	<-time.After(d)
}

// awaitStore calls the function `heal`, which makes the store reachable again. It waits until every node has noticed,
// and every call has been renewed after that.
func (w *world) awaitStore(what string, heal func()) {
	w.t.Helper()
	w.fleet.Mark()
	heal()
	w.say("%s", what)
	back := w.calls.Mark()
	w.fleet.Await(storeBack)
	w.demandStoreUp(true)
	w.calls.AwaitRenewals(back, 1)
}

// verdict fails the test unless Redis has every session, no call was interrupted, and every node stops without having
// logged an error.
func (w *world) verdict(server func(key string) *redistest.Server) {
	w.t.Helper()
	w.demandStored(server)
	if expired := w.fleet.Sum(`refresher_renewals_total{outcome="expired"}`); expired != 0 {
		w.t.Errorf("the nodes count %v renewals that came too late; want none", expired)
	}
	w.say("%s", w.calls.Verdict(w.faults))
	for _, n := range w.fleet {
		n.Stop()
		for _, line := range n.Errors() {
			w.t.Errorf("%s logged: %s", n.Name(), line)
		}
	}
}

// demandConnected fails the test if a call has lost its connection since the tallies in `mark` were taken. A failure of
// Redis must not reach the calls.
func (w *world) demandConnected(mark []calls.Tally) {
	w.t.Helper()
	lost := 0
	var why error
	for i, now := range w.calls.Mark() {
		if now.Connected != mark[i].Connected {
			lost++
			why = cmp.Or(why, now.LastLoss)
		}
	}
	if lost > 0 {
		w.t.Errorf("%d calls lost their connection; want none; one of them by: %v", lost, why)
	}
}

// These are beginnings of log lines in which a node reports about its store.
const (
	storeAway = "Redis cannot be reached"
	storeBack = "Redis is back"
	// storeSilent is logged if the store did not answer in time when a client resumed its session.
	storeSilent = "Redis does not answer"
	// storeRewritten is logged when the store can be reached again, and when it may have lost data although it was
	// always reachable, as in a failover.
	storeRewritten = "rewriting sessions to Redis"
)

// demandStoreUp fails the test unless every node is ready and reports its store as reachable, or as unreachable if `up`
// is false.
func (w *world) demandStoreUp(up bool) {
	w.t.Helper()
	want := 0.0
	if up {
		want = 1
	}
	for _, n := range w.fleet {
		status, text := n.Get("/readyz")
		// A node that starts without its store cannot know the revocations, so it may be unready.
		starting := !up && status == http.StatusServiceUnavailable && strings.Contains(text, "starting")
		if !starting && (status != http.StatusOK || strings.Contains(text, "degraded") == up) {
			w.t.Errorf("%s: /readyz answers %d, %q; the store is up: %v", n.Name(), status, text, up)
		}
		if value := n.Metric("refresher_store_up"); value != want {
			w.t.Errorf("%s: refresher_store_up is %v; want %v", n.Name(), value, want)
		}
	}
}

// demandStored fails the test unless the schedule in Redis has every session and no other.
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

// shards is the number of keys in Redis among which the schedule is divided.
const shards = 64

func dueKey(shard int) string { return fmt.Sprintf("{refresher:%02d}:due", shard) }

func on(s *redistest.Server) func(key string) *redistest.Server {
	return func(string) *redistest.Server { return s }
}

package chaos

import (
	"fmt"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/nodetest/calls"
)

// serviceURL is where the calls find the service. The name is never looked up:
// each connection goes where the fleet sends it.
const serviceURL = "ws://localhost/v1/ws"

// ttl is how long tokens live where a scenario does not say otherwise. Renewals
// come after 3 to 6 s then, and 6 s are left for whatever goes wrong.
const ttl = 12 * time.Second

// world is a fleet, and calls that go on while it is broken.
type world struct {
	t     *testing.T
	fleet nodetest.Fleet
	calls *calls.Calls

	began  time.Time
	faults int
}

// newWorld starts nodes and calls, and returns when all calls are in.
func newWorld(t *testing.T, nodes int, ttl time.Duration, flags ...string) *world {
	t.Helper()
	w := &world{t: t, began: time.Now(), fleet: nodetest.StartFleet(t, nodes, flags...)}
	w.calls = calls.Hold(t, calls.Config{Count: callers, TTL: ttl, URL: serviceURL, Transport: w.fleet.Transport})
	return w
}

// say tells what happens, and when.
func (w *world) say(format string, args ...any) {
	w.t.Helper()
	w.t.Logf("%5.1fs  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

// fault announces what is about to break. It returns how the calls stand, and
// has the nodes' await look from here on.
func (w *world) fault(format string, args ...any) []calls.Tally {
	w.t.Helper()
	w.say(format, args...)
	w.faults++
	w.fleet.Mark()
	return w.calls.Mark()
}

// pass lets a part of the scenario's length go by.
func (w *world) pass(part float64) {
	w.t.Helper()
	w.wait(time.Duration(part * float64(length)))
}

// wait lets time go by, where time itself is what matters.
func (w *world) wait(d time.Duration) {
	w.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.t.Context().Done():
		w.t.Fatal(w.t.Context().Err())
	}
}

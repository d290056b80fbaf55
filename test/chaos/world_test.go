package chaos

import (
	"fmt"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/nodetest/calls"
)

// serviceURL is the address that the calls use. Its name is never looked up: the fleet chooses
// the node of each connection.
const serviceURL = "ws://localhost/v1/ws"

// ttl is the lifetime of the tokens unless a scenario sets another. With it, renewals come
// after 3 to 6 s, and 6 s are left to get over a fault.
const ttl = 12 * time.Second

// world has a fleet of nodes, and calls that go on while the nodes and their Redis fail.
type world struct {
	t     *testing.T
	fleet nodetest.Fleet
	calls *calls.Calls

	began  time.Time
	faults int
}

// newWorld starts nodes and calls, and returns when all calls are connected.
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

// fault logs the fault that is about to happen. It returns the state of the calls. From then on, the nodes' method
// Await ignores earlier log lines.
func (w *world) fault(format string, args ...any) []calls.Tally {
	w.t.Helper()
	w.say(format, args...)
	w.faults++
	w.fleet.Mark()
	return w.calls.Mark()
}

// pass waits for the fraction `part` of the scenario's duration.
func (w *world) pass(part float64) {
	w.t.Helper()
	w.wait(time.Duration(part * float64(length)))
}

// wait lets time pass, for faults that are caused by time itself.
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

package chaos

import (
	"cmp"

	"refresher/test/nodetest/calls"
)

// verdict ends the calls and demands that none of them was interrupted. Then the nodes must
// stop without an error.
func (w *world) verdict() {
	w.t.Helper()
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

// demandConnected demands that no call has lost its connection since the tallies in `mark` were taken, since a failure
// of Redis must not reach the calls.
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

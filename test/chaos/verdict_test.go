package chaos

import (
	"cmp"
	"time"

	"refresher/internal/edge"
)

// verdict ends the calls, and demands of the judge's record and of the calls'
// own that none of them noticed anything. Then the nodes have to stop in good
// order.
func (w *world) verdict() {
	w.t.Helper()
	record, tallies, now := w.calls.edge.Record(), w.calls.mark(), time.Now()
	if expired := w.fleet.sum(`refresher_renewals_total{outcome="expired"}`); expired != 0 {
		w.t.Errorf("the nodes count %v renewals that came too late; want none", expired)
	}
	w.calls.hangUp()
	w.judge(record)
	total := tally{}
	for i := range tallies {
		t := &tallies[i]
		w.examine(i, t, now)
		if i == 0 || t.leastLeft < total.leastLeft {
			total.leastLeft = t.leastLeft
		}
		total.renewals += t.renewals
		total.connected += t.reconnects()
	}
	w.say("%d calls, %d faults: %d renewals, at least %.1f s left in the old tokens, %d reconnects, %g call-seconds lost of %.0f",
		len(tallies), w.faults, total.renewals, total.leastLeft.Seconds(), total.connected,
		record.Total.LostSeconds, record.Total.HeldSeconds+record.Total.LostSeconds)
	for _, n := range w.fleet {
		n.stop()
		for _, line := range n.log.errors() {
			w.t.Errorf("%s logged: %s", n.name, line)
		}
	}
}

// demandConnected demands that no call has lost its connection since a mark: what
// befalls Redis is nothing that a caller should notice.
func (w *world) demandConnected(mark []tally) {
	w.t.Helper()
	lost := 0
	var why error
	for i, now := range w.calls.mark() {
		if now.connected != mark[i].connected {
			lost++
			why = cmp.Or(why, now.lastLoss)
		}
	}
	if lost > 0 {
		w.t.Errorf("%d calls lost their connection; want none; one of them by: %v", lost, why)
	}
}

// judge demands that no call was interrupted at the judge.
func (w *world) judge(record edge.Record) {
	w.t.Helper()
	if want := 2 * len(w.calls.tallies); len(record.Calls) != want {
		w.t.Errorf("the judge saw %d legs of calls; want %d", len(record.Calls), want)
	}
	for _, c := range record.Calls {
		if c.LostSeconds != 0 || c.Drops != 0 || c.RenewalsRefused != 0 || c.JoinsRefused != 0 || c.Joins != 1 {
			w.t.Errorf("call lost: %+v", c)
		}
	}
}

// examine demands that a call knows of nothing that should not have happened,
// and that it was renewed as often as its time asks for. Tokens of less than a
// minute and a half are renewed by half of their life; each fault may put one
// renewal off, but never to the end of it.
func (w *world) examine(i int, t *tally, now time.Time) {
	w.t.Helper()
	held := now.Sub(t.joinedAt)
	want := max(int(held/w.calls.ttl), int(held/(w.calls.ttl/2))-1-w.faults)
	if t.rejoins != 0 || t.late != 0 || t.sessions != 1 || t.renewals < want {
		w.t.Errorf("call %d: renewed %d times in %v, want %d or more; told to join again %d times, %d times too late; %d sessions; last lost its connection by: %v",
			i+1, t.renewals, held, want, t.rejoins, t.late, t.sessions, t.lastLoss)
	}
}

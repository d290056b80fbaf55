package calls

import (
	"fmt"
	"time"

	"refresher/web/demo/edge"
)

// Verdict ends the calls, and demands of the judge's record and of the calls' own
// that none of them noticed anything, though so many faults came. It returns the
// figures in a line.
func (c *Calls) Verdict(faults int) string {
	c.t.Helper()
	record, tallies, now := c.Record(), c.Mark(), time.Now()
	c.HangUp()
	c.judge(record)
	total := Tally{}
	for i := range tallies {
		t := &tallies[i]
		c.examine(i, t, now, faults)
		if i == 0 || t.LeastLeft < total.LeastLeft {
			total.LeastLeft = t.LeastLeft
		}
		total.Renewals += t.Renewals
		total.Connected += t.reconnects()
	}
	return fmt.Sprintf("%d calls, %d faults: %d renewals, at least %.1f s left in the old tokens, %d reconnects, %g call-seconds lost of %.0f",
		len(tallies), faults, total.Renewals, total.LeastLeft.Seconds(), total.Connected,
		record.Total.LostSeconds, record.Total.HeldSeconds+record.Total.LostSeconds)
}

// judge demands that no call was interrupted at the judge.
func (c *Calls) judge(record edge.Record) {
	c.t.Helper()
	if want := 2 * c.config.Count; len(record.Calls) != want {
		c.t.Errorf("the judge saw %d legs of calls; want %d", len(record.Calls), want)
	}
	for _, leg := range record.Calls {
		if leg.LostSeconds != 0 || leg.Drops != 0 || leg.RenewalsRefused != 0 || leg.JoinsRefused != 0 || leg.Joins != 1 {
			c.t.Errorf("call lost: %+v", leg)
		}
	}
}

// examine demands that a call knows of nothing that should not have happened,
// and that it was renewed as often as its time asks for. Tokens of less than a
// minute and a half are renewed by half of their life; each fault may put one
// renewal off, but never to the end of it.
func (c *Calls) examine(i int, t *Tally, now time.Time, faults int) {
	c.t.Helper()
	held := now.Sub(t.joinedAt)
	want := max(int(held/c.config.TTL), int(held/(c.config.TTL/2))-1-faults)
	if t.Rejoins != 0 || t.Late != 0 || t.Sessions != 1 || t.Renewals < want {
		c.t.Errorf("call %d: renewed %d times in %v, want %d or more; told to join again %d times, %d times too late; %d sessions; last lost its connection by: %v",
			i+1, t.Renewals, held, want, t.Rejoins, t.Late, t.Sessions, t.LastLoss)
	}
}

package calls

import (
	"fmt"
	"time"

	"refresher/web/demo/edge"
)

// Verdict ends the calls. It fails the test if the record of the simulated edge, or a tally, shows that a call was
// interrupted. Each of the given number of faults may delay a renewal. Verdict returns the figures as one line.
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

// examine fails the test if a call's tally shows an error, or fewer renewals than the call's duration requires. Tokens
// of less than 90 s are renewed before half of their life has passed. Each fault may delay one renewal, but never
// beyond the end of the tokens.
func (c *Calls) examine(i int, t *Tally, now time.Time, faults int) {
	c.t.Helper()
	held := now.Sub(t.joinedAt)
	want := max(int(held/c.config.TTL), int(held/(c.config.TTL/2))-1-faults)
	if t.Rejoins != 0 || t.Late != 0 || t.Sessions != 1 || t.Renewals < want {
		c.t.Errorf("call %d: renewed %d times in %v, want %d or more; told to join again %d times, %d times too late; %d sessions; last lost its connection by: %v",
			i+1, t.Renewals, held, want, t.Rejoins, t.Late, t.Sessions, t.LastLoss)
	}
}

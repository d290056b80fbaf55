package chaos

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"refresher/internal/client"
	"refresher/internal/edge"
	"refresher/internal/protocol"
)

// calls are held at the judge with the tokens that the fleet gives them, as an
// SDK and an app would.
type calls struct {
	t       *testing.T
	fleet   fleet
	edge    *edge.Edge
	ttl     time.Duration
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	tallies []tally       // guarded by mu
	changed chan struct{} // guarded by mu; closed by the next change
}

// holdCalls begins some calls and returns when all are in.
func holdCalls(t *testing.T, f fleet, count int, ttl time.Duration) *calls {
	t.Helper()
	judge, err := edge.New(edge.Config{AppID: appID, Certificate: certificate})
	if err != nil {
		t.Fatal(err)
	}
	c := &calls{t: t, fleet: f, edge: judge, ttl: ttl, tallies: make([]tally, count)}
	c.ctx, c.end = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		c.hangUp()
		judge.Close()
	})
	for i := range count {
		c.hold(i)
	}
	c.await("joined", c.mark(), func(_, now tally) bool { return now.sessions > 0 })
	return c
}

// hangUp ends all calls.
func (c *calls) hangUp() {
	c.end()
	c.running.Wait()
}

// hold begins one call, in voice and in messages.
func (c *calls) hold(i int) {
	uid, ttl := uint32(i+1), int64(c.ttl/time.Second)
	user := strconv.Itoa(i + 1)
	var voice, messages *edge.Call
	join := func(b client.Bundle) error {
		var err error
		if voice, err = c.edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "c", User: user, Token: b.Tokens.RTC.Token}); err != nil {
			return err
		}
		messages, err = c.edge.Join(edge.JoinRequest{Leg: edge.RTM, User: user, Token: b.Tokens.RTM.Token})
		return err
	}
	transport := c.fleet.transport(func(n *node) { c.change(i, func(t *tally) { t.node = n }) })
	caller := client.New(client.Config{
		URL:        serviceURL,
		HTTPClient: &http.Client{Transport: transport},
		Join: protocol.ClientMessage{
			RTC: &protocol.RTC{Channel: "c", UID: &uid, Role: 1}, RTM: &protocol.User{UserID: user}, TTL: &ttl,
		},
		Apply: func(_ context.Context, b client.Bundle) error {
			var err error
			if b.First || b.Action == protocol.ActionRejoin {
				err = join(b)
			} else {
				err = errors.Join(voice.Renew(b.Tokens.RTC.Token), messages.Renew(b.Tokens.RTM.Token))
			}
			if err == nil {
				c.change(i, func(t *tally) { t.applied(b) })
			}
			return err
		},
		Notice: func(n client.Notice) { c.change(i, func(t *tally) { t.noticed(n) }) },
	})
	c.running.Go(func() {
		if err := caller.Run(c.ctx); !errors.Is(err, context.Canceled) {
			c.t.Errorf("call %s ended: %v", user, err)
		}
	})
}

// change notes what happened to a call, and wakes those who wait for it.
func (c *calls) change(i int, note func(*tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	note(&c.tallies[i])
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// mark is how the calls stand.
func (c *calls) mark() []tally {
	now, _ := c.watch()
	return now
}

// watch is how the calls stand, and what the next change closes.
func (c *calls) watch() ([]tally, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return append([]tally(nil), c.tallies...), c.changed
}

// await waits until something holds for each call, that was so at a mark.
func (c *calls) await(what string, mark []tally, holds func(then, now tally) bool) {
	c.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		tallies, changed := c.watch()
		waiting := 0
		var loss error
		for i, now := range tallies {
			if !holds(mark[i], now) {
				waiting++
				loss = cmp.Or(loss, now.lastLoss)
			}
		}
		if waiting == 0 {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			c.t.Fatalf("after %v %d of %d calls still had not %s; one of them last lost its connection by: %v",
				patience, waiting, len(tallies), what, loss)
		}
	}
}

// awaitRenewals waits until each call has been renewed so many times since a
// mark.
func (c *calls) awaitRenewals(mark []tally, times int) {
	c.t.Helper()
	c.await("been renewed", mark, func(then, now tally) bool { return now.renewals-then.renewals >= times })
}

// awaitReturn waits until the calls that were on a node at a mark have connected
// again, and have been renewed since.
func (c *calls) awaitReturn(mark []tally, from *node) {
	c.t.Helper()
	c.await("come back", mark, func(then, now tally) bool {
		return then.node != from || now.connected > then.connected && now.renewals > then.renewals
	})
}

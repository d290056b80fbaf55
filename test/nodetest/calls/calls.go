package calls

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"refresher/client"
	"refresher/test/nodetest"
	"refresher/web/demo/edge"
)

// Config says how many calls there are, and how they reach the service.
type Config struct {
	Count int
	// TTL is the lifetime of the tokens.
	TTL time.Duration
	// URL is the WebSocket address of the service.
	URL string
	// Transport returns the transport of one call. The transport may call the function `reached` with the node to which
	// it has connected.
	Transport func(reached func(*nodetest.Node)) *http.Transport
}

// Calls are running calls. They last until HangUp or the end of the test. Only the test's goroutine may use their
// methods.
type Calls struct {
	t       *testing.T
	config  Config
	edge    *edge.Edge
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	tallies []Tally       // guarded by mu
	changed chan struct{} // guarded by mu; the next change closes this channel
}

// Hold starts the calls, each with RTC and RTM, and returns when all are connected.
func Hold(t *testing.T, config Config) *Calls {
	t.Helper()
	judge, err := edge.New(edge.Config{AppID: nodetest.AppID, Certificate: nodetest.Certificate})
	if err != nil {
		t.Fatal(err)
	}
	c := &Calls{t: t, config: config, edge: judge, tallies: make([]Tally, config.Count)}
	c.ctx, c.end = context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		c.HangUp()
		judge.Close()
	})
	for i := range config.Count {
		c.hold(i)
	}
	c.Await("joined", c.Mark(), func(_, now Tally) bool { return now.Sessions > 0 })
	return c
}

// HangUp ends all calls.
func (c *Calls) HangUp() {
	c.end()
	c.running.Wait()
}

// Accept makes the simulated edge accept only tokens that are signed with these certificates, as after a change of the
// certificates in Agora's console. An empty secondary means that there is only one certificate.
func (c *Calls) Accept(primary, secondary string) {
	c.t.Helper()
	if err := c.edge.SetCertificates(primary, secondary); err != nil {
		c.t.Fatal(err)
	}
}

// Record returns what the simulated edge has recorded about all calls.
func (c *Calls) Record() edge.Record { return c.edge.Record() }

func (c *Calls) hold(i int) {
	uid := uint32(i + 1)
	user := strconv.Itoa(i + 1)
	var voice, messages *edge.Call
	join := func(b client.Tokens) error {
		var err error
		if voice, err = c.edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "c", User: user, Token: b.RTC}); err != nil {
			return err
		}
		messages, err = c.edge.Join(edge.JoinRequest{Leg: edge.RTM, User: user, Token: b.RTM})
		return err
	}
	transport := c.config.Transport(func(n *nodetest.Node) { c.change(i, func(t *Tally) { t.Node = n }) })
	caller := client.New(client.Config{
		URL:        c.config.URL,
		HTTPClient: &http.Client{Transport: transport},
		RTC:        &client.RTC{Channel: "c", UID: uid, Publisher: true}, RTM: user, TTL: c.config.TTL,
		Apply: func(_ context.Context, b client.Tokens) error {
			var err error
			if b.Action != client.Renew {
				err = join(b)
			} else {
				err = errors.Join(voice.Renew(b.RTC), messages.Renew(b.RTM))
			}
			if err == nil {
				c.change(i, func(t *Tally) { t.applied(b) })
			}
			return err
		},
		Notify: func(n client.Event) { c.change(i, func(t *Tally) { t.noticed(n) }) },
	})
	c.running.Go(func() {
		if err := caller.Run(c.ctx); !errors.Is(err, context.Canceled) {
			c.t.Errorf("call %s ended: %v", user, err)
		}
	})
}

func (c *Calls) change(i int, note func(*Tally)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	note(&c.tallies[i])
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// Mark returns the current tallies. A test compares later tallies with them.
func (c *Calls) Mark() []Tally {
	now, _ := c.watch()
	return now
}

// watch returns the current tallies, and a channel that the next change closes.
func (c *Calls) watch() ([]Tally, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return append([]Tally(nil), c.tallies...), c.changed
}

// Await waits until the function `holds` returns true for each call. Its arguments are the call's tally in `mark` and
// the call's current tally.
func (c *Calls) Await(what string, mark []Tally, holds func(then, now Tally) bool) {
	c.t.Helper()
	timeout := time.NewTimer(nodetest.Patience)
	defer timeout.Stop()
	for {
		tallies, changed := c.watch()
		waiting := 0
		var loss error
		for i, now := range tallies {
			if !holds(mark[i], now) {
				waiting++
				loss = cmp.Or(loss, now.LastLoss)
			}
		}
		if waiting == 0 {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			c.t.Fatalf("after %v %d of %d calls still had not %s; one of them last lost its connection by: %v",
				nodetest.Patience, waiting, len(tallies), what, loss)
		}
	}
}

// AwaitRenewals waits until each call was renewed the given number of times since the mark.
func (c *Calls) AwaitRenewals(mark []Tally, times int) {
	c.t.Helper()
	c.Await("been renewed", mark, func(then, now Tally) bool { return now.Renewals-then.Renewals >= times })
}

// AwaitReturn waits for the calls that were on a node at the mark: each must have connected again, and been renewed
// after that.
func (c *Calls) AwaitReturn(mark []Tally, from *nodetest.Node) {
	c.t.Helper()
	c.Await("come back", mark, func(then, now Tally) bool {
		return then.Node != from || now.Connected > then.Connected && now.Renewals > then.Renewals
	})
}

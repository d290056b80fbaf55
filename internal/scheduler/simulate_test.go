package scheduler

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
)

// forSeeds runs a test in simulated time, once for each of many random seeds.
func forSeeds(t *testing.T, test func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		// A failing bubble would end the whole test if it were not in a subtest.
		if !t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, rand.New(rand.NewPCG(seed, 0))) })
		}) {
			rt.Fatalf("seed %d", seed)
		}
	})
}

// pick returns one of the values at random.
func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// upTo returns a random duration of at most d.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }

// TestAnyDay simulates random days of a few clients, which answer late, fall silent, disconnect and
// resume, while the certificate changes. Each client checks from its own record that its tokens came
// in time.
func TestAnyDay(t *testing.T) {
	forSeeds(t, func(t *testing.T, r *rand.Rand) {
		c, signs := testConfig(t), &certificate{}
		signs.configure(&c, upTo(r, time.Hour))
		s := start(t, c)
		var day sync.WaitGroup
		for range 1 + r.IntN(4) {
			call := caller{
				t: t, s: s, signs: signs, random: rand.New(rand.NewPCG(r.Uint64(), 0)),
				ttl: time.Duration(10+r.IntN(3591)) * time.Second, delay: upTo(r, 4*time.Second),
			}
			day.Go(call.play)
		}
		for i := range r.IntN(6) {
			pass(upTo(r, time.Hour))
			signs.change(session.Fingerprint(1+i%2), s)
		}
		day.Wait()
		wait(time.Minute)
		whole(t, s)
		equal(t, "open sessions", len(s.table.open), 0)
	})
}

// caller is one client of TestAnyDay.
type caller struct {
	t      *testing.T
	s      *Scheduler
	signs  *certificate
	random *rand.Rand
	ttl    time.Duration
	// The client acks after this delay, which is less than the ack timeout.
	delay  time.Duration
	muted  atomic.Bool
	client *fakeClient
}

func (c *caller) play() {
	c.client = &fakeClient{t: c.t, scheduler: c.s, answer: c.answer}
	c.client.join(c.ttl)
	connected := true
	for range c.random.IntN(13) {
		pass(upTo(c.random, time.Hour))
		switch c.random.IntN(6) {
		case 0:
			c.client.current().Detach()
			connected = false
		case 1:
			c.resume()
			connected = true
		case 2: // the old connection stays open, as after a change of network
			c.resume()
			c.resume()
			connected = true
		case 3:
			c.client.current().Renew()
		case 4:
			c.muted.Store(true)
		case 5:
			c.muted.Store(false)
		}
	}
	// At the end a client that is connected and answers must have valid tokens.
	c.muted.Store(false)
	if !connected || c.client.got().lost {
		c.resume()
	}
	c.client.ack(c.client.got().joined.Seq)
	pass(c.delay + 2*c.s.config.Policy.AckTimeout)
	if c.client.got().lost { // the client was muted until now, so the service may have closed its connection
		c.resume()
	}
	before := len(c.client.got().pushes)
	pass(10 * c.ttl)
	got := c.client.got()
	c.client.wantServed(before + 9)
	for i := before; i < len(got.pushes); i++ {
		c.checkTime(got.pushes[i], got.at[i])
	}
	// The renewals after a change of the certificate take CertificateSpread, and 10 s more if another
	// change came shortly before. The client may first have to confirm an earlier bundle.
	if c.signs.since() > c.s.config.Policy.CertificateSpread+30*time.Second {
		equal(c.t, "certificate of the tokens", c.client.newest().Tokens.Certificate, c.signs.name("app"))
	}
	whole(c.t, c.s)
	c.client.current().Leave()
}

// checkTime checks when a push came, to a client that was connected and has answered the previous
// push.
func (c *caller) checkTime(push session.Push, at time.Time) {
	if push.Attempt > 1 || push.Cause != session.CauseSchedule {
		return
	}
	left := push.PreviousExpiresAt.Time().Sub(at)
	before := c.s.config.Policy.HeadStart(c.ttl)
	// Expiries are rounded down to whole seconds, so a push may seem up to a second early.
	check(c.t, !push.Rejoin && left >= before && left <= before+before/2+time.Second, "pushed with %s left, head start %s: %+v", left, before, push)
}

// answer acks a push after the client's delay, unless the client is muted.
func (c *caller) answer(p *fakeClient, push session.Push) {
	pass(c.delay)
	if !c.muted.Load() {
		p.ack(push.Seq)
	}
}

func (c *caller) resume() {
	before := c.client.got().joined
	c.client = c.client.comesBack()
	joined := c.client.got().joined
	check(c.t, joined.Seq > before.Seq && joined.Session == before.Session, "resumed with %+v after %+v", joined, before)
	c.client.ack(joined.Seq)
}

package scheduler

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
)

// TestAnyDay simulates random days of a few clients, which answer late, fall silent, refuse tokens,
// disconnect and resume. Each client checks from its own record that its tokens came in time.
func TestAnyDay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		day := drawDay(rt)
		synctest.Test(t, func(t *testing.T) { day.play(t) })
		if t.Failed() {
			rt.Fatalf("the day was %+v", day)
		}
	})
}

// day is the script of a simulation.
type day struct {
	calls   []callScript
	changes []time.Duration // intervals between changes of the certificate
	spread  time.Duration
}

type callScript struct {
	ttl   time.Duration
	delay time.Duration // delay of the client's acks; less than the ack timeout
	turns []turn
}

// turn is an action of a client, after a delay.
type turn struct {
	after time.Duration
	what  string
}

func drawDay(rt *rapid.T) day {
	d := day{spread: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "spread"))}
	for range rapid.IntRange(0, 5).Draw(rt, "changes") {
		d.changes = append(d.changes, time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "change after")))
	}
	for range rapid.IntRange(1, 4).Draw(rt, "calls") {
		c := callScript{
			ttl:   time.Duration(rapid.Int64Range(10, 3600).Draw(rt, "ttl")) * time.Second,
			delay: time.Duration(rapid.Int64Range(0, int64(4*time.Second)).Draw(rt, "delay")),
		}
		for range rapid.IntRange(0, 12).Draw(rt, "turns") {
			c.turns = append(c.turns, turn{
				after: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "after")),
				what:  rapid.SampledFrom([]string{"lose", "resume", "mute", "speak", "ask", "twice"}).Draw(rt, "what"),
			})
		}
		d.calls = append(d.calls, c)
	}
	return d
}

func (d day) play(t *testing.T) {
	c := testConfig(t)
	signs := &certificate{}
	signs.in(&c, d.spread)
	s := start(t, c)
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		for i, after := range d.changes {
			pass(after)
			signs.change(session.Fingerprint(1+i%2), s)
		}
	}()
	ends := make(chan *caller)
	for _, script := range d.calls {
		go func() {
			c := &caller{t: t, s: s, script: script, signs: signs}
			c.play()
			ends <- c
		}()
	}
	for range d.calls {
		c := <-ends
		whole(t, s)
		c.fakeClient.current().Leave()
	}
	<-changed
	wait(time.Minute) // waits for the last answers
	whole(t, s)
	for id := range s.table.open {
		t.Errorf("session %s was not ended", id)
	}
}

// caller runs the script of one client.
type caller struct {
	t          *testing.T
	s          *Scheduler
	script     callScript
	signs      *certificate
	fakeClient *fakeClient
	muted      chan bool // contains whether the client is muted; a goroutine that takes the value out has the lock
}

func (c *caller) play() {
	c.muted = make(chan bool, 1)
	c.muted <- false
	c.fakeClient = &fakeClient{t: c.t, scheduler: c.s, answer: c.answer}
	c.fakeClient.join(c.script.ttl)
	away := false
	for _, turn := range c.script.turns {
		pass(turn.after)
		switch turn.what {
		case "lose":
			c.fakeClient.current().Detach()
			away = true
		case "resume":
			c.resume()
			away = false
		case "twice": // the old connection stays open, as after a change of network
			c.resume()
			c.resume()
			away = false
		case "ask":
			c.fakeClient.current().Renew()
		case "mute", "speak":
			<-c.muted
			c.muted <- turn.what == "mute"
		}
	}
	// At the end a client that is connected and answers must have valid tokens.
	<-c.muted
	c.muted <- false
	if away || c.fakeClient.got().lost {
		c.resume()
	}
	if err := c.fakeClient.current().Ack(c.fakeClient.got().joined.Seq); err != nil {
		c.t.Error(err)
	}
	pass(c.script.delay + 2*c.s.config.Policy.AckTimeout)
	if c.fakeClient.got().lost { // the client was muted until now, so the service may have closed its connection
		c.resume()
	}
	before := len(c.fakeClient.got().pushes)
	pass(10 * c.script.ttl)
	got := c.fakeClient.got()
	check(c.t, !got.lost && got.ended == nil, "a client that answers was lost (%v) or ended (%v)", got.lost, got.ended)
	n := len(got.pushes) - before
	check(c.t, n >= 9, "%d renewals in ten lifetimes", n)
	for i := before; i < len(got.pushes); i++ {
		c.onTime(got.pushes[i], got.at[i])
	}
	// A rotation takes the spread, and 10 s more if it follows another rotation. The client may
	// first have to confirm an earlier bundle.
	rotated := c.signs.since() > c.s.config.Policy.CertificateSpread+30*time.Second
	if has, signs := c.fakeClient.newest().Tokens.Certificate, c.signs.name("app"); has != signs && rotated {
		c.t.Errorf("has tokens of certificate %s, %s signs", has, signs)
	}
}

// onTime checks when a push came, to a client that was connected and has answered the previous
// push.
func (c *caller) onTime(push session.Push, at time.Time) {
	if push.Attempt > 1 || push.Cause != session.CauseSchedule {
		return
	}
	left := push.PreviousExpiresAt.Time().Sub(at)
	policy := c.s.config.Policy
	before := policy.HeadStart(c.script.ttl)
	// Expiries are rounded down to whole seconds, so a push may seem up to a second early.
	check(c.t, !push.Rejoin && left >= before && left <= before+before/2+time.Second, "pushed with %s left, head start %s: %+v", left, before, push)
}

// answer acks a push after the script's delay, unless the client is muted.
func (c *caller) answer(p *fakeClient, push session.Push) {
	pass(c.script.delay)
	muted := <-c.muted
	c.muted <- muted
	if muted {
		return
	}
	if err := p.current().Ack(push.Seq); err != nil {
		c.t.Error(err)
	}
}

// resume gives the client's session a new connection.
func (c *caller) resume() {
	next := c.fakeClient.again()
	if err := next.resume(c.fakeClient); err != nil {
		c.t.Error(err)
		return
	}
	if got, had := next.got(), c.fakeClient.got(); got.joined.Seq <= had.joined.Seq || got.joined.Session != had.joined.Session {
		c.t.Errorf("resumed with %+v after %+v", got.joined, had.joined)
	}
	c.fakeClient = next
	_ = next.current().Ack(next.got().joined.Seq)
}

package scheduler

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// The record of a confirmed renewal may wait for a twentieth of the tokens' lifetime.
func TestSaveWithin(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		time.Second:             0,
		9999 * time.Millisecond: 0,
		10 * time.Second:        500 * time.Millisecond,
		12 * time.Second:        600 * time.Millisecond,
		20 * time.Second:        time.Second,
		time.Hour:               time.Second,
		24 * time.Hour:          time.Second,
	} {
		got := saveWithin(ttl)
		check(t, got == want, "%s for tokens of %s, want %s", got, ttl, want)
	}
}

// datedSaves is a store that records the times of its saves.
type datedSaves struct {
	*link

	mu sync.Mutex
	at []time.Time // guarded by mu
}

func (d *datedSaves) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	d.mu.Lock()
	d.at = append(d.at, time.Now())
	d.mu.Unlock()
	return d.link.Save(ctx, records)
}

// after returns the time from start to the first save.
func (d *datedSaves) after(start time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.at {
		if !at.Before(start) {
			return at.Sub(start)
		}
	}
	return -1
}

// Only the record of a confirmed renewal waits long. All other changes are saved after 100 ms,
// since another node may need them.
func TestWhichRecordsGather(t *testing.T) {
	const ttl, soon, later = time.Hour, 100 * time.Millisecond, time.Second
	inCluster(t, func(t *testing.T, c *cluster) {
		dated := &datedSaves{link: &link{store: c.store}}
		c.config.Store, c.config.Records, c.config.Node = dated, dated, "dated"
		n := startNode(t, c.config)
		acks := make(chan uint64, 1)
		p := &fakeClient{t: t, scheduler: n.Scheduler, answer: func(_ *fakeClient, push session.Push) { acks <- push.Seq }}
		now := func(change func()) func() time.Time {
			return func() time.Time {
				change()
				return time.Now()
			}
		}
		ack := now(func() {
			p.ack(<-acks)
		})
		wish := func(role session.Role) {
			if _, err := n.cluster.Wish(t.Context(), "app", store.Wish{Session: p.got().joined.Session, Kind: store.WishRole, Role: role}); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct {
			name   string
			change func() time.Time // returns the time of the session's change
			within time.Duration
		}{
			{"join", now(func() { p.join(ttl) }), soon},
			{"first ack, which proves that the client has the key", ack, soon},
			{"renewal", ack, later},
			{"next renewal", ack, later},
			{"role", now(func() { wish(session.Publisher) }), soon},
			{"the renewal that brings the role", ack, later},
			{"detach", now(func() { p.current().Detach() }), soon},
			{"resume, which the store knows of, and its ack", now(func() {
				next := p.comesBack()
				p = next
				acks <- p.got().joined.Seq
				ack()
			}), soon},
			{"renewal", ack, later},
			{"end", now(func() { p.current().Leave() }), soon},
		} {
			start := step.change()
			wait(1500 * time.Millisecond)
			if got := dated.after(start); got != step.within {
				t.Errorf("%s: saved after %s, want %s", step.name, got, step.within)
			}
		}
	})
}

// A node dies before the record of a confirmed renewal is saved. The client resumes on another
// node, which reads the previous record, and gets tokens with a higher seq.
func TestSuccessorOfARenewalThatWasNotSaved(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.start("a")
		p := joined(t, a.Scheduler, time.Minute)
		wait(time.Second)
		for len(p.got().pushes) == 0 {
			wait(10 * time.Millisecond)
		}
		a.kill() // the push is acked, but its record is not saved yet
		b := c.start("b")
		next := p.move(b)
		if got := next.got(); got.joined.Push.Seq <= p.resumeRequest().Seq || got.joined.Rejoin {
			t.Errorf("resumed with %+v after seq %d", got.joined, p.resumeRequest().Seq)
		}
		wait(10 * time.Minute)
		if got := next.got(); got.lost || got.ended != nil || len(got.pushes) < 10 {
			t.Errorf("a call that came back is not served: %+v", got)
		}
		if pushes := p.got().pushes; !slices.ContainsFunc(pushes, func(push session.Push) bool { return push.Seq == 2 }) {
			t.Errorf("pushes before the node died: %v", pushes)
		}
		next.current().Leave()
		wait(time.Minute)
	})
}

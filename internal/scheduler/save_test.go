package scheduler

import (
	"sync/atomic"
	"testing"
	"time"

	"refresher/internal/session"
)

// The record of a confirmed renewal may wait for a twentieth of the tokens' lifetime.
func TestSaveWithin(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		9999 * time.Millisecond: 0,
		10 * time.Second:        500 * time.Millisecond,
		20 * time.Second:        time.Second,
		time.Hour:               time.Second,
	} {
		equal(t, "delay for tokens of "+ttl.String(), saveWithin(ttl), want)
	}
}

// countSaves counts the records that the node saves from now on.
func (m *member) countSaves() *atomic.Int64 {
	saved := new(atomic.Int64)
	m.link.set(func() {
		m.link.after = func(r request) error {
			saved.Add(int64(len(r.records)))
			return nil
		}
	})
	return saved
}

// Only the record of a confirmed renewal waits long. All other changes are saved after 100 ms,
// since another node may need them.
func TestWhichRecordsGather(t *testing.T) {
	const soon, later = 100 * time.Millisecond, time.Second
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.start("a")
		saved := make(chan time.Time, 10)
		a.link.set(func() {
			a.link.after = func(r request) error {
				if r.name == "save" {
					saved <- time.Now()
				}
				return nil
			}
		})
		acks := make(chan uint64, 1)
		p := &fakeClient{t: t, scheduler: a.Scheduler, answer: func(_ *fakeClient, push session.Push) { acks <- push.Seq }}
		ack := func() { p.ack(<-acks) }
		for _, step := range []struct {
			name   string
			change func()
			within time.Duration
		}{
			{"join", func() { p.join(time.Hour) }, soon},
			{"first ack, which proves that the client has the key", ack, soon},
			{"renewal", ack, later},
			{"next renewal", ack, later},
			{"role", func() { a.setRole(p.id(), session.Publisher) }, soon},
			{"the renewal that brings the role", ack, later},
			{"detach", func() { p.current().Detach() }, soon},
			{"resume, which the store knows of, and its ack", func() { p = p.comesBack(); p.ack(p.newest().Seq) }, soon},
			{"renewal after the resume", ack, later},
			{"end", func() { p.current().Leave() }, soon},
		} {
			step.change()
			changed := time.Now()
			equal(t, step.name, (<-saved).Sub(changed), step.within)
			wait(1500 * time.Millisecond)
			for len(saved) > 0 {
				<-saved
			}
		}
	})
}

// A renewal causes one save.
func TestWritesPerRenewal(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.start("a")
		p := &fakeClient{t: t, scheduler: a.Scheduler, answer: func(p *fakeClient, push session.Push) {
			pass(300 * time.Millisecond) // longer than a record waits, so that each record is saved before the next one is made
			p.ack(push.Seq)
		}}
		p.join(time.Minute)
		p.ack(1)
		wait(time.Second)
		saved := a.countSaves()
		wait(2 * time.Hour)
		renewals := len(p.got().pushes)
		check(t, renewals >= 100 && saved.Load() <= int64(renewals)+1, "%d records saved for %d renewals", saved.Load(), renewals)
		p.current().Leave()
		wait(time.Second)
	})
}

package scheduler

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
)

// A Scheduler without a Cluster keeps a call alive, takes its client back, and refuses the
// key of a call that is over.
func TestSchedulerWorksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		if c.Cluster != nil || c.Store != nil {
			t.Fatal("it is not alone")
		}
		s := start(t, c)
		p := &fakeClient{t: t, scheduler: s}
		p.join(time.Minute)
		wait(10 * time.Minute)
		if n := len(p.got().pushes); n < 10 {
			t.Errorf("%d renewals in 10 minutes", n)
		}
		p.hands().Detach()
		back := p.again()
		if err := back.resume(p); err != nil {
			t.Fatal(err)
		}
		if push, err := s.RenewByKey(context.Background(), back.ticket()); err != nil || push.Seq != back.got().joined.Seq+1 {
			t.Errorf("renewed over HTTP: %+v, %v", push, err)
		}
		back.hands().Leave()
		wait(59 * time.Minute)
		var ended *session.EndedError
		if err := back.again().resume(back); !errors.As(err, &ended) || ended.Reason != session.EndLeft {
			t.Errorf("the key of a call that was left: %v", err)
		}

		gone := &fakeClient{t: t, scheduler: s}
		gone.join(time.Minute)
		gone.hands().Detach()
		wait(time.Hour)
		if open, ended := s.table.find(gone.got().joined.Session); open != nil || ended != nil {
			t.Error("a session that expired is kept")
		}
		if err := gone.again().resume(gone); err != nil {
			t.Errorf("the key of one that nobody came back to in time: %v", err)
		}
	})
}

// A Scheduler without a Cluster forgets a call that is over once its keys are dead.
func TestSchedulerAloneForgetsCallsThatAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, testConfig(t))
		p := &fakeClient{t: t, scheduler: s}
		p.join(time.Minute)
		p.hands().Leave()
		id := p.got().joined.Session
		wait(59 * time.Minute)
		if s.table.get(id) == nil {
			t.Error("it is forgotten while its keys are good")
		}
		wait(30 * 24 * time.Hour)
		if s.table.get(id) != nil {
			t.Error("it is kept for ever")
		}
	})
}

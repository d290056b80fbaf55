package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
)

// Without a Cluster, a Scheduler renews a session, lets its client resume, and refuses the
// key of an ended session.
func TestSchedulerWorksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		require(t, c.Cluster == nil && c.Store == nil, "it is not alone")
		s := start(t, c)
		p := joined(t, s, time.Minute)
		wait(10 * time.Minute)
		check(t, len(p.got().pushes) >= 10, "%d renewals in 10 minutes", len(p.got().pushes))
		p.current().Detach()
		back := p.again()
		must(t, back.resume(p))
		if push, err := s.RenewByKey(context.Background(), back.resumeRequest()); err != nil || push.Seq != back.got().joined.Seq+1 {
			t.Errorf("renewed over HTTP: %+v, %v", push, err)
		}
		back.current().Leave()
		wait(59 * time.Minute)
		if err := back.again().resume(back); !endedWith(err, session.EndLeft) {
			t.Errorf("the key of a call that was left: %v", err)
		}

		gone := joined(t, s, time.Minute)
		gone.current().Detach()
		wait(time.Hour)
		if open, ended := s.table.find(gone.got().joined.Session); open != nil || ended != nil {
			t.Error("a session that expired is kept")
		}
		if err := gone.again().resume(gone); err != nil {
			t.Errorf("the key of one that nobody came back to in time: %v", err)
		}
	})
}

// Without a Cluster, a Scheduler removes an ended session once its resume keys have
// expired.
func TestSchedulerAloneForgetsCallsThatAreOver(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joined(t, s, time.Minute)
		p.current().Leave()
		id := p.got().joined.Session
		wait(59 * time.Minute)
		check(t, s.table.get(id) != nil, "it is forgotten while its keys are good")
		wait(30 * 24 * time.Hour)
		check(t, s.table.get(id) == nil, "it is kept for ever")
	})
}

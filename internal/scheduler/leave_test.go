package scheduler

import (
	"context"
	"errors"
	"testing"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// leaves ends the client's session by a request over HTTP to a node.
func (p *fakeClient) leaves(s *Scheduler) error {
	return s.LeaveByKey(context.Background(), p.resumeRequest())
}

// wantLeft checks that all nodes refuse the client's key because the client has left.
func wantLeft(t *testing.T, p *fakeClient, nodes ...*member) {
	t.Helper()
	for _, m := range nodes {
		wantEnded(t, p.on(m).resume(p), session.EndLeft)
		wantEnded(t, p.leaves(m.Scheduler), session.EndLeft)
	}
}

// A client can leave by a request over HTTP to any node. Leaving needs no approval.
func TestLeaveByKey(t *testing.T) {
	for name, test := range map[string]struct {
		elsewhere, detached bool
		wait                time.Duration
	}{
		"connected here":      {},
		"connected elsewhere": {elsewhere: true, wait: time.Second},
		"detached here":       {detached: true},
		"joined just now":     {elsewhere: true},
		"expired":             {elsewhere: true, detached: true, wait: 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, c *cluster) {
				c.config.Approve = func(_ context.Context, action session.Action, _ session.ResumeClaims) (Answer, error) {
					check(t, action == session.ActionJoin || action == session.ActionResume, "an approval of %s was requested", action)
					return Answer{Agreed: true}, nil
				}
				a, b := c.start("a"), c.start("b")
				p := joined(t, a.Scheduler, time.Minute)
				if test.detached {
					p.current().Detach()
				}
				pass(test.wait)
				asked := a
				if test.elsewhere {
					asked = b
				}
				must(t, p.leaves(asked.Scheduler))
				wait(2 * time.Second)
				// The session's owner may learn that another node has acquired the session before it learns of the end.
				// Then the owner only closes the connection, and the client learns of the end when it resumes.
				released := test.elsewhere && p.got().lost
				if !test.detached && !released {
					p.wantTold(session.EndLeft)
				}
				equal(t, "open sessions", a.open()+b.open(), 0)
				ends := c.count(p.id(), store.DeliveredEnd)
				check(t, ends == 1 || ends == 2 && name == "expired", "%d events of the end", ends)
				wantLeft(t, p, a, b, c.start("c"))
				c.wantStored(0, 1)
			})
		})
	}
}

// While the store is down, a node that knows the session only from its resume key ends it, saves
// the end later, and returns the expiry that the client sent.
func TestLeaveByKeyWhileTheStoreIsAway(t *testing.T) {
	onTwoNodes(t, time.Hour, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
		p.current().Detach()
		wait(time.Second)
		b.link.fail(away)
		resume := p.resumeRequest()
		resume.ExpiresAt = p.got().expiresAt
		must(t, b.LeaveByKey(t.Context(), resume))
		ended, ok := errors.AsType[*session.EndedError](p.leaves(b.Scheduler))
		check(t, ok && ended.AccessEndsAt == p.got().expiresAt, "left again: %+v", ended)
		wantLeft(t, p, b)
		b.link.repair()
		wait(time.Minute)
		equal(t, "open sessions", a.open()+b.open(), 0)
		wantLeft(t, p, a, b)
		c.wantStored(0, 1)
	})
}

func TestLeaveByKeyOfAnOlderConnectionEndsNothing(t *testing.T) {
	onTwoNodes(t, time.Hour, func(t *testing.T, _ *cluster, a, b *member, p *fakeClient) {
		newer := p.move(b)
		wait(time.Second)
		for _, m := range []*member{a, b} {
			wantEnded(t, p.leaves(m.Scheduler), session.EndSuperseded)
		}
		wait(time.Hour)
		newer.wantServed(1)
	})
}

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
func (p *fakeClient) leaves(s *Scheduler) {
	p.t.Helper()
	err := s.LeaveByKey(context.Background(), p.resumeRequest())
	require(p.t, err == nil, "leave over HTTP: %v", err)
}

// wantLeft checks that all nodes refuse the client's key because the client has left.
func wantLeft(t *testing.T, p *fakeClient, nodes ...*member) {
	t.Helper()
	for _, m := range nodes {
		wantEnded(t, p.on(m).resume(p), session.EndLeft)
		wantEnded(t, m.LeaveByKey(context.Background(), p.resumeRequest()), session.EndLeft)
	}
}

// A client can leave by a request over HTTP to any node. Leaving needs no approval.
func TestLeaveByKey(t *testing.T) {
	for name, test := range map[string]struct {
		owner, asked string // names of nodes
		detached     bool
		wait         time.Duration // time between the join and the leave
	}{
		"connected here":            {owner: "a", asked: "a"},
		"connected elsewhere":       {owner: "a", asked: "b", wait: time.Second},
		"detached here":             {owner: "a", asked: "a", detached: true, wait: time.Second},
		"detached elsewhere":        {owner: "a", asked: "b", detached: true, wait: time.Second},
		"joined a moment ago":       {owner: "a", asked: "b"},
		"forgotten: it has expired": {owner: "a", asked: "b", detached: true, wait: 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, c *cluster) {
				c.config.Approve = func(_ context.Context, action session.Action, _ session.ResumeClaims) (Answer, error) {
					check(t, action == session.ActionJoin || action == session.ActionResume, "an approval of %s was requested", action)
					return Answer{Agreed: true}, nil
				}
				nodes := map[string]*member{"a": c.start("a"), "b": c.start("b")}
				p := joined(t, nodes[test.owner].Scheduler, time.Minute)
				if test.detached {
					p.current().Detach()
				}
				pass(test.wait)
				p.leaves(nodes[test.asked].Scheduler)
				wait(2 * time.Second)
				got := p.got()
				// The session's owner may first learn that another node has acquired the session.
				// Then the owner closes the connection, and the client learns of the end when it
				// resumes; wantLeft checks that.
				released := test.owner != test.asked && got.lost && got.ended == nil
				if !test.detached && !released && (got.ended == nil || got.ended.Reason != session.EndLeft || got.lost) {
					t.Errorf("the connection was told %+v, lost %v", got.ended, got.lost)
				}
				equal(t, "open sessions", nodes["a"].open()+nodes["b"].open()+c.stored(), 0)
				if n := c.count(p.id(), store.DeliveredEnd); n == 0 || test.wait < time.Hour && n > 1 {
					t.Errorf("its end was announced %d times", n)
				}
				wantLeft(t, p, nodes["a"], nodes["b"], c.start("c"))
				if _, tombstones := c.store.Len(); tombstones != 1 {
					t.Errorf("%d tombstones", tombstones)
				}
			})
		})
	}
}

func TestLeaveByKeyWhileTheStoreIsAway(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joined(t, a.Scheduler, time.Hour)
		p.current().Detach()
		wait(time.Second)
		b.link.fail(away)
		p.leaves(b.Scheduler)
		wantLeft(t, p, b)
		wait(time.Minute)
		b.link.fail(nil)
		wait(time.Minute)
		check(t, a.open()+b.open()+c.stored() == 0, "%d sessions are open", a.open()+b.open()+c.stored())
		wantLeft(t, p, a, b)
	})
}

func TestLeaveByKeyOfAnOlderConnectionEndsNothing(t *testing.T) {
	onTwoNodes(t, time.Hour, func(t *testing.T, _ *cluster, a, b *member, p *fakeClient) {
		newer := p.move(b)
		wait(time.Second)
		for _, m := range []*member{a, b} {
			wantEnded(t, m.LeaveByKey(context.Background(), p.resumeRequest()), session.EndSuperseded)
		}
		if err := a.LeaveByKey(context.Background(), session.Resume{Session: "nobody", Key: p.resumeRequest().Key}); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("a key of another session: %v", err)
		}
		wait(time.Hour)
		if got := newer.got(); got.ended != nil || got.lost || len(got.pushes) == 0 {
			t.Errorf("the newer connection: %+v", got)
		}
	})
}

// A node that knows the session only from its resume key returns the expiry that the client sent.
func TestLeaveByKeyReturnsTheExpiry(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joined(t, s, time.Hour)
		other := start(t, testConfig(t))
		resume := p.resumeRequest()
		resume.ExpiresAt = p.got().expiresAt
		must(t, other.LeaveByKey(context.Background(), resume))
		var ended *session.EndedError
		if err := other.LeaveByKey(context.Background(), p.resumeRequest()); !errors.As(err, &ended) || ended.AccessEndsAt != p.got().expiresAt {
			t.Errorf("left again: %+v, want access to end at %d", err, p.got().expiresAt)
		}
	})
}

package scheduler

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
)

// backEnd answers requests for approval as the test configures it, and records the requests and
// their times.
type backEnd struct {
	mu     sync.Mutex
	answer Answer           // guarded by mu
	down   error            // guarded by mu
	takes  time.Duration    // guarded by mu
	asked  []session.Action // guarded by mu
	at     []time.Time      // guarded by mu
}

func (b *backEnd) approve(ctx context.Context, action session.Action, _ session.ResumeClaims) (Answer, error) {
	b.mu.Lock()
	b.asked, b.at = append(b.asked, action), append(b.at, time.Now())
	takes := b.takes
	b.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.answer, b.down
}

func (b *backEnd) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// answers makes the back end approve or deny.
func (b *backEnd) answers(agreed bool) { b.set(func() { b.answer.Agreed, b.down = agreed, nil }) }

func (b *backEnd) fails() { b.set(func() { b.down = errors.New("no answer") }) }

func (b *backEnd) delay(d time.Duration) { b.set(func() { b.takes = d }) }

// until makes the back end limit its approvals to this second.
func (b *backEnd) until(end session.UnixSec) { b.set(func() { b.answer.Until = end }) }

func (b *backEnd) questions() (asked []session.Action, at []time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked, b.at
}

// approvalGrace is the Policy.ApprovalGrace of the node in withApproval.
const approvalGrace = 90 * time.Minute

// withApproval runs a test in simulated time, with a Scheduler that works alone and a back end that
// approves.
func withApproval(t *testing.T, test func(t *testing.T, s *Scheduler, b *backEnd)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		b := c.asks(approvalGrace)
		test(t, start(t, c), b)
	})
}

// asks makes the node request approvals. It returns the back end that answers these requests, which
// approves every request until the test changes that.
func (c *settings) asks(grace time.Duration) *backEnd {
	b := &backEnd{answer: Answer{Agreed: true}}
	c.Approve, c.Policy.ApprovalAhead, c.Policy.ApprovalGrace = b.approve, 15*time.Second, grace
	return b
}

func tryJoin(ctx context.Context, s *Scheduler) error {
	_, err := s.Join(ctx, session.Join{Identity: someone, Caller: anybody}, &fakeClient{})
	return err
}

func TestJoinNeedsApproval(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		b.answers(false)
		wantCode(t, tryJoin(t.Context(), s), session.CodeForbidden)
		b.fails()
		wantCode(t, tryJoin(t.Context(), s), session.CodeUnavailable)
		equal(t, "open sessions", len(s.table.open), 0)
	})
}

// A client's request that waits for approval returns as soon as its context ends. The context ends,
// for example, when the client disconnects.
func TestRequestEndsWithItsContext(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Hour)
		b.delay(9 * time.Second)
		for name, request := range map[string]func(context.Context) error{
			"join":              func(ctx context.Context) error { return tryJoin(ctx, s) },
			"resume":            func(ctx context.Context) error { _, err := s.Resume(ctx, p.resumeRequest(), p.again()); return err },
			"renewal over HTTP": func(ctx context.Context) error { _, err := s.RenewByKey(ctx, p.resumeRequest()); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			err := request(ctx)
			cancel()
			took := time.Since(began)
			check(t, errors.Is(err, context.DeadlineExceeded) && took == time.Second, "%s: %v after %s", name, err, took)
		}
		p.wantServed(0)
		equal(t, "open sessions", len(s.table.open), 1)
	})
}

// The approval of a renewal is requested once. The request comes a twentieth of the tokens'
// lifetime before the renewal, or earlier, but never more than 15 s before it. With a lifetime of
// 300 s or more, it comes exactly 15 s before. A slow answer does not delay the renewal.
func TestEachApprovalIsRequestedOnceAndAhead(t *testing.T) {
	for ttl, delay := range map[time.Duration]time.Duration{12 * time.Second: 0, time.Hour: 9 * time.Second} {
		withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
			p := joined(t, s, ttl)
			b.delay(delay)
			wait(10 * ttl)
			got := p.got()
			asked, at := b.questions()
			if len(got.pushes) < 10 || len(asked) < len(got.pushes) || len(asked) > len(got.pushes)+2 {
				t.Fatalf("%s: asked %d times for %d renewals", ttl, len(asked), len(got.pushes))
			}
			require(t, asked[0] == session.ActionJoin && asked[1] == session.ActionRenew, "asked about %v", asked)
			for i, pushed := range got.at[:min(len(got.at), len(at)-1)] {
				ahead := pushed.Sub(at[i+1])
				check(t, ahead >= min(ttl/20, 15*time.Second) && ahead <= 15*time.Second, "%s: asked %s ahead of renewal %d", ttl, ahead, i)
			}
		})
	}
}

func TestDenialEndsTheSession(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Minute)
		b.answers(false)
		wait(2 * time.Minute)
		p.wantTold(session.EndDenied)
		equal(t, "end of the access", p.got().ended.AccessEndsAt, p.got().joined.Tokens.ExpiresAt)
		equal(t, "pushes", len(p.got().pushes), 0)
		b.answers(true)
		wantEnded(t, p.again().resume(p), session.EndDenied)
	})
}

func TestRenewalsGoOnForTheGrace(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, 10*time.Minute)
		began := time.Now()
		b.fails()
		wait(3 * time.Hour)
		p.wantTold(session.EndDenied)
		got := p.got()
		// The grace period is one lifetime of the tokens (10 minutes) plus approvalGrace, counted from
		// the last approval.
		most := approvalGrace + 10*time.Minute
		since := got.at[len(got.at)-1].Sub(began)
		check(t, since <= most && since >= most-10*time.Minute, "the last renewal came %s after the last approval, want up to %s", since, most)
		asked, _ := b.questions()
		check(t, len(asked)-len(got.pushes) >= 10, "%d requests for %d renewals: no request was repeated", len(asked), len(got.pushes))
	})
}

func TestResumeAndRenewalNeedApproval(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joinedDetached(t, s, time.Hour)
		b.fails()
		p.renewOn(s)
		wait(time.Hour + approvalGrace + time.Second)
		_, err := s.RenewByKey(t.Context(), p.resumeRequest())
		wantCode(t, err, session.CodeUnavailable)
		wantCode(t, p.again().resume(p), session.CodeUnavailable)
		// A node that knows only the key keeps nothing of a refused client.
		c := testConfig(t)
		c.asks(approvalGrace).fails()
		other := start(t, c)
		wantCode(t, (&fakeClient{t: t, scheduler: other}).resume(p), session.CodeUnavailable)
		equal(t, "sessions on the other node", len(other.table.all(nil)), 0)
		b.answers(true)
		back := p.comesBack()
		b.answers(false)
		_, err = s.RenewByKey(t.Context(), back.resumeRequest())
		wantEnded(t, err, session.EndDenied)
		back.wantTold(session.EndDenied)
	})
}

// If a request for approval is unanswered when the grace period ends, the renewal waits for the
// answer, at most until the tokens expire.
func TestUnansweredRequestHoldsRenewalAfterTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		b := c.asks(time.Second)
		s := start(t, c)
		p := joined(t, s, 10*time.Second)
		began := time.Now()
		b.delay(time.Minute)
		wait(time.Minute)
		for _, at := range p.got().at {
			check(t, at.Sub(began) <= 11*time.Second, "renewed %s after the last approval", at.Sub(began))
		}
		p.wantTold(session.EndDenied)
	})
}

// An approval can move the end of a session to an earlier time. The new end is stored.
func TestApprovalShortensTheSession(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		b := c.config.asks(approvalGrace)
		end := session.SecOf(time.Now().Add(10 * time.Minute))
		b.until(end)
		a := c.start("a")
		var changed []bool
		a.link.set(func() {
			a.link.after = func(r request) error {
				for i := range r.records {
					equal(t, "TermsChanged", r.records[i].TermsChanged, r.records[i].Terms.Until != end)
					changed = append(changed, r.records[i].TermsChanged)
				}
				return nil
			}
		})
		p := joined(t, a.Scheduler, 5*time.Minute)
		wait(time.Second)
		b.until(end - 60)
		wait(6 * time.Minute)
		r, _, err := c.store.Get(t.Context(), p.id())
		must(t, err)
		equal(t, "stored end", r.Terms.Until, end-60)
		check(t, len(changed) >= 2, "%d saves", len(changed))
		wait(time.Hour)
		p.wantTold(session.EndExpired)
		equal(t, "expiry of the last tokens", p.got().expiresAt, end-60)
	})
}

// An approval is requested for each bundle, whatever the bundle's cause.
func TestEveryBundleNeedsApproval(t *testing.T) {
	for name, answer := range map[string]func(p *fakeClient, push session.Push){
		"nack": func(p *fakeClient, push session.Push) { _ = p.current().Nack(push.Seq, "1", "") },
		"renew": func(p *fakeClient, push session.Push) {
			_ = p.current().Ack(push.Seq)
			pass(6 * time.Second)
			p.current().Renew()
		},
	} {
		t.Run(name, func(t *testing.T) {
			withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
				p := &fakeClient{t: t, scheduler: s, answer: answer}
				p.join(time.Minute)
				wait(5 * time.Minute)
				bundles := int(p.newest().Seq)
				asked, _ := b.questions()
				check(t, len(asked) >= bundles && bundles >= 10, "asked %d times about %d bundles", len(asked), bundles)
				b.answers(false)
				before := len(p.got().pushes)
				wait(2 * time.Minute)
				p.wantTold(session.EndDenied)
				check(t, len(p.got().pushes) <= before+1, "%d pushes after the denial", len(p.got().pushes)-before)
				wait(10 * time.Second) // waits until all pending requests are answered
			})
		})
	}
}

// An approval counts only for the bundle for which it was requested.
func TestLateAnswerDoesNotCount(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Hour)
		b.delay(5 * time.Second)
		p.current().Renew() // requests tokens, so that the node requests approval
		wait(time.Second)
		b.delay(0)
		next := p.comesBack() // the resume mints tokens before the answer arrives
		next.ack(next.got().joined.Seq)
		wait(10 * time.Second) // long enough for the first answer to arrive
		b.answers(false)
		wait(2 * time.Hour)
		next.wantTold(session.EndDenied)
		equal(t, "pushes", len(next.got().pushes), 0)
	})
}

// If a renewal over HTTP is answered with the same tokens as before, the approval that was
// requested for this renewal does not count for the next renewal.
func TestRepeatSpendsNoAnswer(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Hour)
		first, second := p.renewOn(s), p.renewOn(s)
		equal(t, "seq of the second renewal", second.Seq, first.Seq)
		b.answers(false)
		wait(10 * time.Second)
		p.ack(2)
		wait(2 * time.Hour)
		p.wantTold(session.EndDenied)
	})
}

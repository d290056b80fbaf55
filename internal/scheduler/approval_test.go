package scheduler

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// backEnd answers requests for approval as the test configures it, and records the requests and
// their times.
type backEnd struct {
	mu     sync.Mutex
	agrees bool             // guarded by mu
	down   error            // guarded by mu
	until  session.UnixSec  // guarded by mu
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
	return Answer{Agreed: b.agrees, Until: b.until}, b.down
}

// delay makes the back end wait for d before it answers.
func (b *backEnd) delay(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.takes = d
}

// set sets the back end's answer: the error down, or, if that is nil, whether the back end
// approves.
func (b *backEnd) set(agrees bool, down error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.agrees, b.down = agrees, down
}

// shorten moves the end that the back end's approvals set for sessions to an earlier time.
func (b *backEnd) shorten(seconds session.UnixSec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until -= seconds
}

func (b *backEnd) questions() (asked []session.Action, at []time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked, b.at
}

var errDown = errors.New("no answer")

// approvalGrace is the grace period of withApproval.
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

// asks makes the node require approvals. It returns the back end that answers them, which approves.
func (c *settings) asks(grace time.Duration) *backEnd {
	b := &backEnd{agrees: true}
	c.Approve, c.Policy.ApprovalAhead, c.Policy.ApprovalGrace = b.approve, 15*time.Second, grace
	return b
}

func code(err error) session.Code {
	refused, ok := errors.AsType[*session.Error](err)
	if !ok {
		return ""
	}
	return refused.Code
}

// tryJoin opens a session and returns the error.
func tryJoin(s *Scheduler) error {
	_, err := s.Join(context.Background(), session.Join{Identity: session.Identity{RTM: &session.RTM{UserID: "u"}}, Caller: anybody}, &fakeClient{})
	return err
}

// wantCode checks that err is a refusal with this code.
func wantCode(t *testing.T, err error, want session.Code) {
	t.Helper()
	check(t, code(err) == want, "have %v, want %s", err, want)
}

func TestJoinNeedsApproval(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		for _, c := range []struct {
			agrees bool
			down   error
			want   session.Code
		}{{false, nil, session.CodeForbidden}, {true, errDown, session.CodeUnavailable}} {
			b.set(c.agrees, c.down)
			wantCode(t, tryJoin(s), c.want)
		}
		check(t, len(s.table.open) == 0, "a session is open all the same")
	})
}

// A join or resume that waits for approval ends when its context does, as at a disconnect of its
// client.
func TestRequestEndsWithItsContext(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Hour)
		b.delay(9 * time.Second)
		for name, request := range map[string]func(context.Context) error{
			"join": func(ctx context.Context) error {
				_, err := s.Join(ctx, session.Join{Identity: session.Identity{RTM: &session.RTM{UserID: "u"}}, Caller: anybody}, &fakeClient{t: t})
				return err
			},
			"resume":            func(ctx context.Context) error { _, err := s.Resume(ctx, p.resumeRequest(), p.again()); return err },
			"renewal over HTTP": func(ctx context.Context) error { _, err := s.RenewByKey(ctx, p.resumeRequest()); return err },
		} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			began := time.Now()
			err := request(ctx)
			cancel()
			took := time.Since(began)
			check(t, errors.Is(err, context.DeadlineExceeded) && took == time.Second, "%s: %v after %s", name, err, took)
		}
		wait(time.Second)
		if got := p.got(); len(s.table.open) != 1 || got.ended != nil || got.lost {
			t.Errorf("%d sessions, the one that was there was told %+v", len(s.table.open), got.ended)
		}
		if asked, _ := b.questions(); len(asked) != 4 {
			t.Errorf("asked about %v", asked)
		}
		wait(10 * time.Second)
	})
}

func TestEachApprovalIsRequestedOnceAndAhead(t *testing.T) {
	for _, ttl := range []time.Duration{12 * time.Second, time.Minute, time.Hour} {
		withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
			p := joined(t, s, ttl)
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
		b.set(false, nil)
		wait(2 * time.Minute)
		got := p.got()
		if len(got.pushes) != 0 || got.ended == nil || got.ended.Reason != session.EndDenied || got.ended.AccessEndsAt != p.got().joined.Tokens.ExpiresAt {
			t.Fatalf("%d pushes, ended %+v", len(got.pushes), got.ended)
		}
		b.set(true, nil)
		if _, err := s.Resume(context.Background(), p.resumeRequest(), p.again()); !endedWith(err, session.EndDenied) {
			t.Fatalf("came back: %v", err)
		}
	})
}

func TestRenewalsGoOnForTheGrace(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, 10*time.Minute)
		began := time.Now()
		b.set(true, errDown)
		wait(3 * time.Hour)
		got := p.got()
		last := got.at[len(got.at)-1]
		// Each approval permits one bundle, whose tokens then work for their whole lifetime.
		most := approvalGrace + 10*time.Minute
		since := last.Sub(began)
		check(t, since <= most && since >= most-10*time.Minute, "the last renewal came %s after the last yes, want up to %s", since, most)
		require(t, got.ended != nil && got.ended.Reason == session.EndDenied, "ended %+v", got.ended)
		asked, _ := b.questions()
		check(t, len(asked)-len(got.pushes) >= 10, "asked %d times more than needed: nothing was tried again", len(asked)-len(got.pushes))
	})
}

func TestSlowAnswersDoNotDelayRenewals(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, 10*time.Minute)
		b.delay(9 * time.Second)
		wait(time.Hour)
		for i, push := range p.got().pushes {
			left := push.PreviousExpiresAt - session.SecOf(p.got().at[i])
			check(t, left >= 55, "renewal %d with %d s left", i, left)
		}
	})
}

func TestRenewMessageNeedsApproval(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Hour)
		p.attachment.Renew()
		wait(time.Second)
		if asked, _ := b.questions(); len(asked) != 2 || len(p.got().pushes) != 1 || p.got().pushes[0].Cause != session.CauseRenew {
			t.Fatalf("asked %v, pushed %+v", asked, p.got().pushes)
		}
		b.set(false, nil)
		p.attachment.Renew()
		wait(time.Second)
		require(t, len(p.got().pushes) == 1 && p.got().ended != nil, "got tokens after a denial")
	})
}

func TestResumeAndRenewalNeedApproval(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Hour)
		resumeRequest := p.resumeRequest()
		p.attachment.Detach()

		b.set(true, errDown)
		if _, err := s.RenewByKey(context.Background(), resumeRequest); err != nil {
			t.Fatalf("within the grace: %v", err)
		}
		wait(time.Hour + approvalGrace + time.Second)
		resumeRequest.ExpiresAt = session.SecOf(time.Now().Add(time.Minute))
		if _, err := s.RenewByKey(context.Background(), resumeRequest); code(err) != session.CodeUnavailable {
			t.Fatalf("after it: %v", err)
		}
		if _, err := s.Resume(context.Background(), resumeRequest, p.again()); code(err) != session.CodeUnavailable {
			t.Fatalf("after it: %v", err)
		}
		b.set(true, nil)
		back := p.again()
		if _, err := s.Resume(context.Background(), resumeRequest, back); err != nil {
			t.Fatal(err)
		}
		b.set(false, nil)
		if _, err := s.RenewByKey(context.Background(), back.resumeRequest()); !endedWith(err, session.EndDenied) {
			t.Fatalf("denied: %v", err)
		}
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
		got := p.got()
		for _, at := range got.at {
			since := at.Sub(began)
			check(t, since <= 11*time.Second, "renewed %s after the last yes", since)
		}
		check(t, got.ended != nil && got.ended.Reason == session.EndDenied, "%d pushes, ended %+v", len(got.pushes), got.ended)
	})
}

func TestApprovalShortensTheSession(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		b.until = session.SecOf(time.Now().Add(10 * time.Minute))
		p := joined(t, s, 5*time.Minute)
		b.shorten(60)
		wait(time.Hour)
		got := p.got()
		if got.ended == nil || got.ended.Reason != session.EndExpired || got.expiresAt != b.until {
			t.Errorf("ended %+v, tokens to %d, want %d", got.ended, got.expiresAt, b.until)
		}
	})
}

// saves is a store that keeps the saved records.
type saves struct {
	*store.Memory
	mu      sync.Mutex
	records []store.Record // guarded by mu
}

func (s *saves) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	s.mu.Lock()
	s.records = append(s.records, records...)
	s.mu.Unlock()
	return s.Memory.Save(ctx, records)
}

// If an approval moves the end of a session to an earlier time, the new end is stored.
func TestShortenedTermsAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backEnd{agrees: true, until: session.SecOf(time.Now().Add(10 * time.Minute))}
		c := testConfig(t)
		c.Approve, c.Policy.ApprovalAhead, c.Policy.ApprovalGrace = b.approve, 15*time.Second, 90*time.Minute
		kept := &saves{Memory: store.NewMemory(time.Now)}
		c.Store, c.Records = kept, kept.Memory
		s := start(t, c)
		joined(t, s, 5*time.Minute)
		joined := b.until
		wait(time.Second)
		b.shorten(60)
		wait(6 * time.Minute)
		kept.mu.Lock()
		defer kept.mu.Unlock()
		for _, r := range kept.records {
			check(t, r.TermsChanged == (r.Terms.Until != joined), "changed %t: until %d after %d", r.TermsChanged, r.Terms.Until, joined)
		}
		last := kept.records[len(kept.records)-1]
		check(t, last.Terms.Until == b.until, "stored until %d, want %d", last.Terms.Until, b.until)
	})
}

// An approval is requested for each bundle, whatever the bundle's cause.
func TestEveryBundleNeedsApproval(t *testing.T) {
	for name, answer := range map[string]func(p *fakeClient, push session.Push){
		"refused": func(p *fakeClient, push session.Push) { _ = p.current().Nack(push.Seq, "1", "") },
		"wanted again": func(p *fakeClient, push session.Push) {
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
				bundles := make(map[uint64]bool)
				for _, push := range p.got().pushes {
					bundles[push.Seq] = true
				}
				if asked, _ := b.questions(); len(asked) < len(bundles) || len(bundles) < 10 {
					t.Errorf("asked %d times about %d bundles", len(asked), len(bundles))
				}
				b.set(false, nil)
				before := len(p.got().pushes)
				wait(2 * time.Minute)
				if got := p.got(); len(got.pushes) > before+1 || got.ended == nil || got.ended.Reason != session.EndDenied {
					t.Errorf("%d pushes after the denial, ended %+v", len(got.pushes)-before, got.ended)
				}
				wait(10 * time.Second) // waits until all pending requests are answered
			})
		})
	}
}

// If your back end is down for less than the default grace period, no session ends and no resume is
// refused.
func TestOutageWithinTheGracePeriodEndsNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		b := c.asks(10 * time.Minute)
		s := start(t, c)
		p := joined(t, s, time.Hour)
		for range 40 {
			b.set(true, errDown)
			wait(9 * time.Minute)
			next := p.comesBack()
			next.ack(next.got().joined.Seq)
			p = next
			b.set(true, nil)
			wait(50 * time.Minute)
		}
		check(t, p.got().ended == nil && !p.got().lost, "ended %+v", p.got().ended)
	})
}

// An approval counts only for the bundle for which it was requested.
func TestLateAnswerDoesNotCount(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Hour)
		b.delay(5 * time.Second)
		p.current().Renew() // requests tokens, so that the node requests approval
		wait(time.Second)
		b.delay(0)
		next := p.comesBack() // the resume mints tokens in between
		_ = next.current().Ack(next.got().joined.Seq)
		wait(10 * time.Second) // the first answer has arrived
		b.set(false, nil)
		wait(2 * time.Hour)
		if got := next.got(); len(got.pushes) != 0 || got.ended == nil {
			t.Errorf("%d pushes, ended %+v", len(got.pushes), got.ended)
		}
	})
}

func TestRepeatSpendsNoAnswer(t *testing.T) {
	withApproval(t, func(t *testing.T, s *Scheduler, b *backEnd) {
		p := joined(t, s, time.Hour)
		for range 2 { // the second request gets the same tokens as the first
			p.renewOn(s)
		}
		b.set(false, nil)
		wait(10 * time.Second)
		_ = p.current().Ack(2)
		wait(2 * time.Hour)
		p.wantTold(session.EndDenied)
	})
}

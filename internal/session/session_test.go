package session

import (
	"testing"
	"time"
)

func TestRenewalIsDueBeforeExpiry(t *testing.T) {
	for ttl, before := range map[time.Duration]time.Duration{
		11 * time.Second: 5 * time.Second,
		time.Minute:      30 * time.Second,
		10 * time.Minute: time.Minute,
		time.Hour:        5 * time.Minute,
		24 * time.Hour:   5 * time.Minute,
	} {
		w := attached(t, ttl)
		equal(t, "head start of "+ttl.String(), w.s.RenewBefore(), before)
		latest := ttl - before
		wait := w.next(Renew, CauseSchedule)
		// Expiries are rounded down to whole seconds, so the renewal may come up to a second
		// earlier.
		check(t, wait <= latest && wait >= latest-before/2-time.Second, "ttl %s: due after %s, want within %s before %s", ttl, wait, before/2, latest)
	}
}

func TestOnlyAnAckMovesTheDueTime(t *testing.T) {
	w := attached(t, time.Hour)
	held := w.s.held
	want := w.renew()
	require(t, want.Seq == 2 && want.Attempt == 1 && !want.Rejoin && want.PreviousExpiresAt == held.expiresAt, "first push %+v", want)
	w.nextAfter(w.policy.AckTimeout, Repeat, "")
	want.Attempt, want.Now = 2, w.now.Milli()
	equal(t, "second push", w.repeat(), want)
	w.pass(time.Second)
	equal(t, "ack", w.ack(2), Acked{Settled: true, After: time.Second, Margin: held.expires - w.now.Mono})
	equal(t, "time of the ack in the record", w.s.Record("", w.now).AckedAt, w.now.Sec())
	check(t, w.s.Deadline()-w.now.Mono >= 50*time.Minute, "next due in %s", w.s.Deadline()-w.now.Mono)
	equal(t, "second ack", w.ack(2), Acked{})
	equal(t, "outdated ack", w.ack(1), Acked{})
}

// Only the first ack or nack of a bundle is the answer to its push. The connection of a client that
// gives no answer is closed. After a resume, the client must confirm its tokens.
func TestConnectionOfASilentClientIsClosed(t *testing.T) {
	w := attached(t, time.Hour)
	w.renew()
	w.next(Repeat, "")
	w.repeat()
	w.ack(1) // the ack is for an outdated bundle, but it is the first ack of that bundle, so it proves that the client is alive
	w.next(Repeat, "")
	for range SilentTries {
		w.repeat()
		w.ack(1)
		w.s.RenewRequested(w.now)
		w.s.RenewRequestedOverHTTP(w.now)
		w.s.Again(w.now)
		if w.s.silent < SilentTries {
			w.nextAfter(w.policy.AckTimeout, Repeat, "")
		}
	}
	w.nextAfter(w.policy.AckTimeout, CloseDead, "")
	require(t, w.s.Detach(w.s.Epoch(), w.now), "not detached")
	must(t, w.s.Admit(1))
	w.s.Confirm(1, 0, w.now)
	p := w.attach()
	require(t, p.Seq == 3 && !p.Rejoin && p.Attempt == 1, "resumed with %+v", p)
	w.nextAfter(w.policy.AckTimeout, Repeat, "")
}

func TestTokensThatExpireUnconfirmedCauseARejoin(t *testing.T) {
	w := attached(t, 10*time.Second)
	held := w.s.held
	w.renew()
	w.next(Repeat, "")
	w.repeat()
	w.next(Renew, CauseSchedule)
	equal(t, "time of the renewal", w.now.Mono, held.expires)
	equal(t, "answer to a renew message", w.s.RenewRequested(w.now), Wait)
	equal(t, "answer to a request over HTTP", w.s.RenewRequestedOverHTTP(w.now), Renew)
	p := w.issue(CauseSchedule)
	require(t, p.Rejoin && p.Seq == 3 && p.PreviousExpiresAt == held.expiresAt, "push %+v", p)
	equal(t, "ack", w.ack(3), Acked{Settled: true})
}

// A nack causes another bundle at once, but at most one for each AckTimeout. This holds for tokens
// that needed no ack, too.
func TestNackCausesAnotherBundle(t *testing.T) {
	w := attached(t, time.Hour)
	require(t, w.nack(1), "the nack of bundle 1 does not count")
	require(t, !w.nack(1), "the second nack of bundle 1 counts")
	w.nextAfter(0, Renew, CauseNack)
	p := w.issue(CauseNack)
	require(t, p.Seq == 2 && p.Attempt == 1, "push %+v", p)
	w.nack(2)
	equal(t, "answer to a renew message", w.s.RenewRequested(w.now), Wait)
	equal(t, "answer to a request over HTTP", w.s.RenewRequestedOverHTTP(w.now), Renew)
	equal(t, "result of AssumeTaken", w.s.AssumeTaken(w.now), Acked{})
	w.nextAfter(w.policy.AckTimeout, Renew, CauseNack)
}

func TestFutureSeqIsRefused(t *testing.T) {
	w := attached(t, time.Hour)
	before := *w.s
	_, err := w.s.Ack(2, w.now)
	wantCode(t, err, CodeBadRequest)
	_, err = w.s.Nack(2, w.now)
	wantCode(t, err, CodeBadRequest)
	wantCode(t, Resume{Seq: MaxSeq + 1}.Check(), CodeBadRequest)
	check(t, *w.s == before, "a refused message changed the session")
}

func TestRenewMessages(t *testing.T) {
	w := attached(t, time.Hour)
	equal(t, "answer if the bundle is confirmed", w.s.RenewRequested(w.now), Renew)
	want := w.issue(CauseRenew)
	equal(t, "answer over HTTP just after the push", w.s.RenewRequestedOverHTTP(w.now), Repeat)
	for range 3 {
		w.pass(renewEvery - 1)
		equal(t, "answer within a second of the push", w.s.RenewRequested(w.now), Wait)
		w.pass(1)
		equal(t, "answer a second later", w.s.RenewRequested(w.now), Repeat)
		want.Attempt, want.Now = want.Attempt+1, w.now.Milli()
		equal(t, "repeated push", w.s.Again(w.now), want)
	}
	w.pass(w.policy.AckTimeout)
	equal(t, "answer over HTTP after AckTimeout", w.s.RenewRequestedOverHTTP(w.now), Renew)
	w.ack(2)
	equal(t, "answer over HTTP if the bundle is confirmed", w.s.RenewRequestedOverHTTP(w.now), Renew)
	w.issue(CauseRenew)
	w.ack(3)
	equal(t, "answer within a second of the bundle", w.s.RenewRequested(w.now), Wait)
	w.nextAfter(renewEvery, Renew, CauseRenew)
}

// An operator's changes cause at most one bundle for each renewEvery. A bundle with a new role
// needs another approval.
func TestOperatorsChanges(t *testing.T) {
	w := attached(t, time.Hour)
	w.s.Identity.RTC, w.s.Terms.MayPublish = &RTC{Channel: "c"}, true
	w.policy.ApprovalAhead = time.Second
	w.s.Approve(0, w.now)
	require(t, w.s.MayRenew(w.now), "an approved bundle may not be minted")
	check(t, w.s.SetRole(Publisher) && !w.s.SetRole(Publisher), "want exactly one change of the role")
	check(t, !w.s.MayRenew(w.now), "the approval of the old role counts for the new one")
	w.s.Approve(0, w.now)
	w.issue(CauseRole)
	w.s.Approve(0, w.now)
	check(t, !w.s.MayRenew(w.now), "a second bundle may be minted at once")
	w.s.Want(CauseRole, w.now)
	w.nextAfter(renewEvery, Renew, CauseRole)
	w.s.Terms.MayPublish = false
	check(t, w.s.SetRole(Subscriber) && !w.s.SetRole(Publisher), "a role that was not granted")
}

// A client that renews over HTTP without a seq is assumed to have the bundle that it got last, on
// another node too.
func TestTokensFetchedOverHTTPAreAssumedTaken(t *testing.T) {
	for _, moved := range []bool{false, true} {
		w := attached(t, time.Hour)
		w.s.Detach(1, w.now)
		w.pass(59 * time.Minute)
		w.s.Issue(w.tokens(), CauseRenew, w.now)
		if moved {
			w.s = Restore(w.s.Record("", w.now), &w.policy, w.now)
		}
		equal(t, "settled", w.s.AssumeTaken(w.now).Settled, !moved)
		w.pass(2 * time.Minute)
		p := w.s.Issue(w.tokens(), CauseRenew, w.now)
		check(t, !p.Rejoin, "moved %t: push %+v", moved, p)
	}
}

func TestOnlyTheNewestProvenKeyOpens(t *testing.T) {
	w := attached(t, time.Hour) // the client gets key 1
	resume := func(epoch uint64) {
		t.Helper()
		must(t, w.s.Admit(epoch))
		w.attach()
	}
	resume(1)             // the client gets key 2
	resume(1)             // key 2 did not reach the client, which now gets key 3
	w.ack(w.s.issued.seq) // the ack proves that the client has key 3
	wantEnded(t, w.s.Admit(1), EndSuperseded)
	wantEnded(t, w.s.Admit(2), EndSuperseded)
	resume(3)
	resume(9) // the key is from another node, with an epoch that this node has not seen
	equal(t, "epoch", w.s.Epoch(), 10)
}

func TestDetachOfAnOlderAttachmentChangesNothing(t *testing.T) {
	w := attached(t, time.Hour)
	w.attach()
	check(t, !w.s.Detach(1, w.now) && w.s.State() == Attached, "the loss of the older connection detached the session")
	check(t, w.s.Detach(2, w.now) && !w.s.Detach(2, w.now), "want exactly one detach")
}

// A detached session is reported as unreachable before its tokens expire, and expires after the
// resume window, but not before its tokens.
func TestDetachedSessionExpires(t *testing.T) {
	w := attached(t, 30*time.Second)
	w.pass(10 * time.Second)
	lost := w.now.Mono
	w.s.Detach(1, w.now)
	wait := w.next(Unreachable, CauseSchedule)
	check(t, wait <= returnGrace && w.now.Mono < w.s.issued.expires, "unreachable after %s", wait)
	w.next(TokensExpired, "")
	equal(t, "expiry of the tokens", w.now.Mono, w.s.issued.expires)
	w.next(Expire, "")
	equal(t, "time until the session expires", w.now.Mono-lost, w.policy.ResumeWindow)

	w = attached(t, time.Hour)
	w.s.Detach(1, w.now)
	wait = w.next(Unreachable, CauseSchedule)
	before := w.s.RenewBefore()
	check(t, wait >= time.Hour-before && wait <= time.Hour-before/2, "unreachable after %s", wait)
	w.next(TokensExpired, "")
	w.nextAfter(0, Expire, "")

	w = attached(t, time.Hour)
	w.pass(w.s.Deadline() - w.now.Mono) // the connection is lost when a renewal is due
	w.s.Detach(1, w.now)
	w.pass(w.s.RenewBefore() / 2)
	w.s.detachedAt = w.now.Mono
	w.nextAfter(returnGrace, Unreachable, CauseSchedule)
}

func TestResumeAfterTheExpiryIsARejoin(t *testing.T) {
	w := attached(t, 30*time.Second)
	w.s.Detach(1, w.now)
	w.pass(time.Minute)
	must(t, w.s.Admit(1))
	p := w.attach()
	check(t, p.Rejoin && p.Seq == 2, "push %+v", p)
}

func TestResumeConfirmsWhatTheClientApplied(t *testing.T) {
	w := attached(t, time.Hour)
	w.renew()
	w.s.Detach(1, w.now) // the situation is the same as if the ack had been lost with the connection
	check(t, w.s.Confirm(2, 0, w.now).Settled, "not confirmed")
	p := w.attach()
	check(t, p.Seq == 3 && p.PreviousExpiresAt != 0, "push %+v", p)
}

func TestSessionRebuiltFromItsKey(t *testing.T) {
	for name, c := range map[string]struct {
		expiresIn UnixSec
		rejoin    bool
	}{
		"expiry unknown": {0, false},
		"tokens valid":   {600, false},
		"tokens expired": {-5, true},
	} {
		w := rebuilt(t)
		claim := UnixSec(0)
		if c.expiresIn != 0 {
			claim = w.now.Sec() + c.expiresIn
		}
		w.s.Confirm(17, claim, w.now)
		p := w.attach()
		check(t, p.Seq == 18 && p.Rejoin == c.rejoin && w.s.Epoch() == 5 && p.PreviousExpiresAt == claim, "%s: push %+v, epoch %d", name, p, w.s.Epoch())
	}
}

func TestNackByAClientOfARebuiltSessionMeansRejoin(t *testing.T) {
	w := rebuilt(t)
	w.attach()
	w.nack(1)
	w.nextAfter(0, Renew, CauseNack)
	check(t, w.issue(CauseNack).Rejoin, "it is unknown which tokens the client had, and its SDK refused the new ones: want a rejoin")
}

// No bundle lives longer than the terms and Agora allow, whatever expiry the client claims.
func TestLifetimeIsBounded(t *testing.T) {
	w := rebuilt(t)
	w.s.Confirm(1, w.now.Sec()+1e9, w.now)
	issuedAt, expiresAt, err := w.s.NextValidity(w.now)
	must(t, err)
	equal(t, "lifetime", expiresAt.Sub(issuedAt), time.Hour)

	w = attached(t, MaxLifetime)
	w.now.Wall = w.now.Wall.Add(-time.Hour)
	issuedAt, expiresAt, err = w.s.NextValidity(w.now)
	must(t, err)
	equal(t, "lifetime after the wall clock was set back", expiresAt.Sub(issuedAt), MaxLifetime)
}

func TestSessionEndsWithItsTerms(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.s.Terms.Until = w.now.Sec() + 90*60
	w.attach()
	p := w.renew()
	equal(t, "expiry", p.Tokens.ExpiresAt, w.s.Terms.Until)
	w.ack(p.Seq)
	w.next(Expire, "")
	equal(t, "end", w.now.Sec(), w.s.Terms.Until)
	_, _, err := w.s.NextValidity(w.now)
	wantEnded(t, err, EndExpired)
}

func TestDeferredRenewal(t *testing.T) {
	w := attached(t, time.Hour)
	w.next(Renew, CauseSchedule)
	w.s.Defer(time.Second, w.now)
	w.nextAfter(time.Second, Renew, CauseSchedule)
	w.issue(CauseSchedule)
	w.s.Defer(time.Second, w.now)
	w.nextAfter(time.Second, Repeat, "")
}

func TestClockSteps(t *testing.T) {
	const window = 30 * time.Second
	step := func(w *world, by time.Duration) {
		w.now.Wall = w.now.Wall.Add(by)
		w.s.ClockStepped(by, window, w.now)
	}
	t.Run("forward, to before the renewal", func(t *testing.T) {
		w := attached(t, time.Hour)
		due := w.s.Deadline()
		step(w, 10*time.Minute)
		equal(t, "earlier by", due-w.s.Deadline(), 10*time.Minute)
	})
	t.Run("forward, to after the renewals of many", func(t *testing.T) {
		least, most := window, time.Duration(0)
		for i := range 100 {
			w := newWorld(t, time.Hour)
			w.s.ID = time.Duration(i).String()
			w.attach()
			step(w, 2*time.Hour)
			d := w.next(Renew, CauseSchedule)
			least, most = min(least, d), max(most, d)
			require(t, !w.issue(CauseSchedule).Rejoin, "a step is no proof that the tokens expired")
		}
		check(t, least <= window/10 && most >= window*9/10 && most <= window, "due in %s to %s, want them spread over %s", least, most, window)
	})
	t.Run("forward, with an unconfirmed push", func(t *testing.T) {
		w := attached(t, time.Hour)
		p := w.renew()
		step(w, 2*time.Hour)
		w.pass(time.Second)
		w.ack(p.Seq)
		d := w.s.Deadline() - w.now.Mono
		check(t, d <= window, "due in %s, want within %s", d, window)
	})
	t.Run("back", func(t *testing.T) {
		w := newWorld(t, time.Hour)
		first := w.attach()
		due := w.s.Deadline()
		step(w, -2*time.Hour)
		equal(t, "deadline", w.s.Deadline(), due)
		w.next(Renew, CauseSchedule)
		check(t, w.issue(CauseSchedule).Tokens.ExpiresAt >= first.Tokens.ExpiresAt, "the new tokens expire earlier than the old")
	})
}

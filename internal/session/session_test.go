package session

import (
	"errors"
	"testing"
	"time"
)

func TestRenewalIsDueBeforeExpiry(t *testing.T) {
	for ttl, before := range map[time.Duration]time.Duration{
		10 * time.Second: 5 * time.Second,
		11 * time.Second: 5 * time.Second,
		time.Minute:      30 * time.Second,
		10 * time.Minute: time.Minute,
		time.Hour:        5 * time.Minute,
		24 * time.Hour:   5 * time.Minute,
	} {
		w := attached(t, ttl)
		check(t, w.s.RenewBefore() == before, "ttl %s: renewBefore %s, want %s", ttl, w.s.RenewBefore(), before)
		wait := w.passTo()
		latest := ttl - before
		// Expiries are rounded down to whole seconds.
		check(t, wait <= latest && wait >= latest-before/2-time.Second, "ttl %s: due after %s, want within %s before %s", ttl, wait, before/2, latest)
		w.dueFor(CauseSchedule)
	}
}

func TestExplicitRenewBeforeIsAtMostHalfTheLife(t *testing.T) {
	p := testPolicy()
	p.RenewBefore = time.Minute
	check(t, p.HeadStart(time.Hour) == time.Minute, "an hour: %s", p.HeadStart(time.Hour))
	check(t, p.HeadStart(30*time.Second) == 15*time.Second, "30 s: %s", p.HeadStart(30*time.Second))
}

func TestOnlyAnAckMovesTheDueTime(t *testing.T) {
	w := attached(t, time.Hour)
	first := w.renew()
	require(t, first.Seq == 2 && first.Attempt == 1 && !first.Rejoin, "first push %+v", first)
	w.passBy(w.policy.AckTimeout)
	w.due(Repeat)
	second := w.repeat()
	if second.Seq != first.Seq || second.Attempt != 2 || second.Tokens != first.Tokens || second.PreviousExpiresAt != first.PreviousExpiresAt {
		t.Fatalf("second push %+v, first %+v", second, first)
	}
	w.pass(time.Second)
	acked := w.now.Sec()
	a := w.ack(2)
	got := w.s.Record("", w.now).AckedAt
	check(t, got == acked, "the record has an ack at %d, want %d", got, acked)
	require(t, a.Settled && a.After == time.Second && a.Margin > 0, "ack %+v", a)
	d := w.s.Deadline() - w.now.Mono
	require(t, d >= 50*time.Minute, "next due in %s", d)
	require(t, !w.ack(2).Settled, "an ack counted twice")
	require(t, !w.ack(1).Settled, "an outdated ack counted")
}

func TestConnectionOfASilentClientIsClosed(t *testing.T) {
	w := attached(t, time.Hour)
	w.renew()
	w.next(Repeat)
	w.repeat()
	w.next(CloseDead)
	require(t, w.s.Detach(w.s.Epoch(), w.now), "not detached")
	// The client resumes, and gets a new bundle.
	must(t, w.s.Admit(1))
	w.s.Confirm(1, 0, w.now)
	p := w.attach()
	require(t, p.Seq == 3 && !p.Rejoin && p.Attempt == 1, "resumed with %+v", p)
	w.next(Repeat) // the client must confirm the tokens of a resume
}

func TestAnyAckOrNackEndsTheSilence(t *testing.T) {
	w := attached(t, time.Hour)
	w.renew()
	w.next(Repeat)
	w.repeat()
	w.ack(1) // the ack is outdated, but it proves that the client is alive
	w.next(Repeat)
}

func TestTokensThatRunOutUnconfirmedAskForARejoin(t *testing.T) {
	w := attached(t, 10*time.Second)
	held := w.s.held
	w.renew()
	for w.now.Mono < held.expires {
		w.passTo()
		if w.now.Mono < held.expires {
			w.due(Repeat)
			w.repeat()
		}
	}
	require(t, w.now.Mono == held.expires, "woke %s after the expiry", w.now.Mono-held.expires)
	w.dueFor(CauseSchedule)
	p := w.issue(CauseSchedule)
	require(t, p.Rejoin && p.Seq == 3 && p.PreviousExpiresAt == held.expiresAt, "push %+v", p)
	a := w.ack(3)
	require(t, a.Settled && a.Margin == 0, "ack %+v", a)
}

func TestNackBringsAnotherBundle(t *testing.T) {
	w := attached(t, time.Hour)
	w.renew()
	require(t, w.nack(2), "a refusal that does not count")
	if news, _ := w.s.Nack(2, w.now); news {
		t.Fatal("the same refusal counted twice")
	}
	w.dueFor(CauseNack) // at once
	p := w.issue(CauseNack)
	require(t, p.Seq == 3 && p.Attempt == 1, "push %+v", p)
	w.nack(3)
	w.passBy(w.policy.AckTimeout) // an SDK that refuses every bundle gets one per AckTimeout
	w.dueFor(CauseNack)
}

func TestNackOfConfirmedTokens(t *testing.T) {
	w := attached(t, time.Hour)
	require(t, w.nack(1), "a refusal that does not count") // bundle 1 came with `joined` and needed no ack
	w.dueFor(CauseNack)
}

func TestFutureSeqIsRefused(t *testing.T) {
	w := attached(t, time.Hour)
	before := *w.s
	for name, f := range map[string]func() error{
		"ack":   func() error { _, err := w.s.Ack(2, w.now); return err },
		"nack":  func() error { _, err := w.s.Nack(2, w.now); return err },
		"claim": func() error { return Resume{Seq: MaxSeq + 1}.Check() },
	} {
		var refused *Error
		if err := f(); !errors.As(err, &refused) || refused.Code != CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	check(t, *w.s == before, "a refused message changed the session")
}

func TestAskingOnTheConnection(t *testing.T) {
	w := attached(t, time.Hour)
	require(t, w.s.RenewRequested(w.now) == Renew, "a confirmed session that asks is not renewed")
	p := w.issue(CauseRenew)
	for range 3 {
		w.pass(renewEvery - 1)
		task := w.s.RenewRequested(w.now)
		require(t, task == Wait, "asked within a second of the last push: task %d", task)
		w.pass(1)
		require(t, w.s.RenewRequested(w.now) == Repeat, "asked a second later: want the bundle that waits for its ack")
		again := w.s.Again(w.now)
		require(t, again.Seq == p.Seq && again.Tokens == p.Tokens && again.Attempt == p.Attempt+1, "again %+v, was %+v", again, p)
		p.Attempt++
	}
}

// A client that alternates between ack and renew gets one bundle per second.
func TestAlternatingAcksAndRenews(t *testing.T) {
	w := attached(t, time.Hour)
	bundles := 0
	for began := w.now.Mono; w.now.Mono < began+10*time.Second; {
		if w.s.RenewRequested(w.now) == Renew {
			w.ack(w.issue(CauseRenew).Seq)
			bundles++
		}
		step := min(200*time.Millisecond, w.s.Deadline()-w.now.Mono)
		w.pass(step)
		if task, cause := w.s.TakeTask(w.now); task == Renew && cause == CauseRenew {
			w.ack(w.issue(cause).Seq)
			bundles++
		}
	}
	check(t, bundles >= 9 && bundles <= 11, "%d bundles in 10 s", bundles)
}

// Repeated renew messages and old acks do not count as the answer to a push.
func TestOnlyTheFirstAckOrNackIsAnAnswer(t *testing.T) {
	for name, say := range map[string]func(w *world){
		"nothing":           func(*world) {},
		"renew":             func(w *world) { w.ask() },
		"an old ack":        func(w *world) { w.ack(1) },
		"an old nack":       func(w *world) { _, _ = w.s.Nack(1, w.now) },
		"all of that":       func(w *world) { w.ask(); w.ack(1); _, _ = w.s.Nack(1, w.now) },
		"a renewal by HTTP": func(w *world) { w.s.RenewRequestedOverHTTP(w.now); w.s.Again(w.now) },
	} {
		t.Run(name, func(t *testing.T) {
			w := attached(t, time.Hour)
			w.ack(1)
			w.renew()
			began := w.now.Mono
			for task := Wait; task != CloseDead; {
				step := min(100*time.Millisecond, w.s.Deadline()-w.now.Mono)
				w.pass(step)
				if task, _ = w.s.TakeTask(w.now); task == Repeat {
					w.repeat()
				}
				say(w)
				require(t, w.now.Mono <= began+time.Minute, "was not given up")
			}
			check(t, w.now.Mono-began == SilentTries*w.policy.AckTimeout, "given up after %s", w.now.Mono-began)
		})
	}
}

func TestAskingOverHTTP(t *testing.T) {
	w := attached(t, time.Hour)
	require(t, w.s.RenewRequestedOverHTTP(w.now) == Renew, "a confirmed session that asks is not renewed")
	w.issue(CauseRenew)
	require(t, w.s.RenewRequestedOverHTTP(w.now) == Repeat, "asked again at once: want the bundle that is on its way")
	w.pass(w.policy.AckTimeout)
	require(t, w.s.RenewRequestedOverHTTP(w.now) == Renew, "asked again later: want a new bundle")
}

// Acks and renew messages between the nacks do not cause more bundles.
func TestRefusalsArePacedByTime(t *testing.T) {
	for name, between := range map[string]func(w *world){
		"nothing": func(*world) {},
		"ack":     func(w *world) { w.ack(w.s.issued.seq) },
		"renew":   func(w *world) { w.ask() },
	} {
		t.Run(name, func(t *testing.T) {
			w := attached(t, time.Hour)
			bundles := 0
			for began := w.now.Mono; w.now.Mono < began+31*time.Second; {
				between(w)
				w.nack(w.s.issued.seq)
				if task, cause := w.s.TakeTask(w.now); task == Renew && cause == CauseNack {
					w.issue(cause)
					bundles++
				}
				w.pass(100 * time.Millisecond)
			}
			check(t, bundles == 7, "%d bundles in 31 s", bundles) // one bundle at once, then one per AckTimeout
		})
	}
}

func TestOnlyTheNewestProvenKeyOpens(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.attach() // the client gets key 1
	resume := func(epoch uint64) error {
		if err := w.s.Admit(epoch); err != nil {
			return err
		}
		w.attach()
		return nil
	}
	must(t, resume(1))                // the client gets key 2
	if err := resume(1); err != nil { // key 2 did not reach the client, which now gets key 3
		t.Fatalf("the key whose successor was lost: %v", err)
	}
	w.ack(w.s.issued.seq) // the ack proves that the client has key 3
	for _, old := range []uint64{1, 2} {
		var ended *EndedError
		if err := resume(old); !errors.As(err, &ended) || ended.Reason != EndSuperseded {
			t.Fatalf("key %d after key 3 was proven: %v", old, err)
		}
	}
	must(t, resume(3))
	must(t, w.s.Admit(9)) // the key is from another node, with an epoch that this node has not seen
	if w.attach(); w.s.Epoch() != 10 {
		t.Fatalf("epoch %d, want 10", w.s.Epoch())
	}
}

func TestDetachOfAnOlderAttachmentChangesNothing(t *testing.T) {
	w := attached(t, time.Hour)
	w.attach()
	require(t, !w.s.Detach(1, w.now) && w.s.State() == Attached, "the older attachment took the newer one's session away")
	require(t, w.s.Detach(2, w.now) && !w.s.Detach(2, w.now), "want exactly one detach")
}

func TestDetachedSessionRunsOutThenExpires(t *testing.T) {
	w := attached(t, 30*time.Second)
	w.pass(10 * time.Second)
	lost := w.now.Mono
	w.s.Detach(1, w.now)
	wait := w.passTo()
	require(t, wait <= returnGrace && w.now.Mono < w.s.issued.expires, "nobody there for a renewal, noticed after %s", wait)
	w.due(Unreachable)
	w.passTo()
	require(t, w.now.Mono == w.s.issued.expires, "woke at %s, tokens run out at %s", w.now.Mono, w.s.issued.expires)
	w.due(TokensExpired)
	w.passTo()
	require(t, w.now.Mono == lost+w.policy.ResumeWindow, "expires %s after the loss", w.now.Mono-lost)
	w.due(Expire)
}

func TestDetachedSessionLivesAsLongAsItsTokens(t *testing.T) {
	w := attached(t, time.Hour)
	w.s.Detach(1, w.now)
	wait := w.passTo()
	require(t, wait >= time.Hour-w.s.RenewBefore() && wait <= time.Hour-w.s.RenewBefore()/2, "nobody there for a renewal, noticed after %s", wait)
	w.due(Unreachable)
	w.next(TokensExpired)
	w.due(Expire) // the resume window ended long before
}

func TestResumeAfterRunningOutIsARejoin(t *testing.T) {
	w := attached(t, 30*time.Second)
	w.s.Detach(1, w.now)
	w.pass(time.Minute)
	must(t, w.s.Admit(1))
	p := w.attach()
	require(t, p.Rejoin && p.Seq == 2, "push %+v", p)
}

func TestResumeConfirmsWhatTheClientApplied(t *testing.T) {
	w := attached(t, time.Hour)
	w.renew()
	w.s.Detach(1, w.now) // the situation is the same as if the ack had been lost with the connection
	a := w.s.Confirm(2, 0, w.now)
	require(t, a.Settled, "confirm: %+v", a)
	p := w.attach()
	require(t, p.Seq == 3 && p.PreviousExpiresAt != 0, "push %+v", p)
}

func TestRefusedTokensAreNotAssumedTaken(t *testing.T) {
	w := attached(t, time.Hour)
	w.nack(1)
	a := w.s.AssumeTaken(w.now)
	require(t, !a.Settled && w.s.RenewRequestedOverHTTP(w.now) == Renew, "the SDK refused these tokens")
}

func TestSessionRebuiltFromItsKey(t *testing.T) {
	for name, c := range map[string]struct {
		expiresIn UnixSec
		rejoin    bool
	}{
		"the client does not say what it holds": {0, false},
		"what it holds is good":                 {600, false},
		"what it holds is dead":                 {-5, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, time.Hour)
			w.s = New(ResumeClaims{Session: "S", Terms: w.s.Terms, Epoch: 4}, &w.policy, w.now)
			claim := UnixSec(0)
			if c.expiresIn != 0 {
				claim = w.now.Sec() + c.expiresIn
			}
			w.s.Confirm(17, claim, w.now)
			p := w.attach()
			require(t, p.Seq == 18 && p.Rejoin == c.rejoin && w.s.Epoch() == 5 && p.PreviousExpiresAt == claim, "push %+v, epoch %d", p, w.s.Epoch())
		})
	}
}

func TestRefusalByARebuiltClientMeansRejoin(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.s = New(ResumeClaims{Session: "S", Terms: w.s.Terms, Epoch: 4}, &w.policy, w.now)
	w.attach()
	w.nack(1)
	w.due(Renew)
	p := w.issue(CauseNack)
	require(t, p.Rejoin, "nothing is known of what it held, and it refused: want a rejoin")
}

func TestClaimedExpiryCannotStretchTokens(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.s = New(ResumeClaims{Session: "S", Terms: w.s.Terms, Epoch: 1}, &w.policy, w.now)
	w.s.Confirm(1, w.now.Sec()+1e9, w.now)
	issuedAt, expiresAt, err := w.s.NextValidity(w.now)
	require(t, err == nil && expiresAt.Sub(issuedAt) <= w.s.Terms.TTL, "life of %d s, %v", expiresAt-issuedAt, err)
}

func TestSessionEndsWithItsTerms(t *testing.T) {
	w := newWorld(t, time.Hour)
	w.s.Terms.Until = w.now.Sec() + 90*60
	w.attach()
	p := w.renew()
	require(t, p.Tokens.ExpiresAt == w.s.Terms.Until, "tokens until %d, terms until %d", p.Tokens.ExpiresAt, w.s.Terms.Until)
	w.ack(p.Seq)
	w.passTo()
	require(t, w.now.Sec() == w.s.Terms.Until, "woke at %d, terms until %d", w.now.Sec(), w.s.Terms.Until)
	w.due(Expire)
	var ended *EndedError
	if _, _, err := w.s.NextValidity(w.now); !errors.As(err, &ended) || ended.Reason != EndExpired {
		t.Fatalf("lifetime past the terms: %v", err)
	}
}

func TestDeferredRenewal(t *testing.T) {
	w := attached(t, time.Hour)
	w.next(Renew)
	w.s.Defer(time.Second, w.now)
	w.passBy(time.Second)
	w.due(Renew)
	w.issue(CauseSchedule)
	w.s.Defer(time.Second, w.now)
	w.passBy(time.Second)
}

func TestClockSteps(t *testing.T) {
	const window = 30 * time.Second
	t.Run("ahead, renewal still ahead", func(t *testing.T) {
		w := attached(t, time.Hour)
		due := w.s.Deadline()
		w.s.ClockStepped(10*time.Minute, window, w.now)
		require(t, due-w.s.Deadline() == 10*time.Minute, "moved ahead by %s", due-w.s.Deadline())
	})
	t.Run("ahead of the renewal", func(t *testing.T) {
		w := attached(t, time.Hour)
		w.now.Wall = w.now.Wall.Add(2 * time.Hour)
		w.s.ClockStepped(2*time.Hour, window, w.now)
		if d := w.s.Deadline() - w.now.Mono; d < 0 || d > window {
			t.Fatalf("due in %s, want within %s", d, window)
		}
		w.next(Renew)
		require(t, !w.issue(CauseSchedule).Rejoin, "a step is no proof that the tokens ran out")
	})
	t.Run("ahead of the renewals of many", func(t *testing.T) {
		least, most := window, time.Duration(0)
		for i := range 100 {
			w := newWorld(t, time.Hour)
			w.s.ID = time.Duration(i).String()
			w.attach()
			w.s.ClockStepped(2*time.Hour, window, w.now)
			d := w.s.Deadline() - w.now.Mono
			least, most = min(least, d), max(most, d)
		}
		check(t, least <= window/10 && most >= window*9/10 && most <= window, "due in %s to %s, want them spread over %s", least, most, window)
	})
	t.Run("ahead while a push is on its way", func(t *testing.T) {
		w := attached(t, time.Hour)
		p := w.renew()
		w.now.Wall = w.now.Wall.Add(2 * time.Hour)
		w.s.ClockStepped(2*time.Hour, window, w.now)
		w.pass(time.Second)
		w.ack(p.Seq)
		if d := w.s.Deadline() - w.now.Mono; d > window {
			t.Fatalf("due in %s, want within %s", d, window)
		}
	})
	t.Run("back", func(t *testing.T) {
		w := newWorld(t, time.Hour)
		first := w.attach()
		due := w.s.Deadline()
		w.now.Wall = w.now.Wall.Add(-2 * time.Hour)
		w.s.ClockStepped(-2*time.Hour, window, w.now)
		require(t, w.s.Deadline() == due, "the renewal moved")
		w.next(Renew)
		require(t, w.issue(CauseSchedule).Tokens.ExpiresAt >= first.Tokens.ExpiresAt, "the new tokens are shorter than the old")
	})
}

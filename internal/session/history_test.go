package session

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAnyHistory runs random histories of a session. After each step it checks the invariants from
// the package documentation.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := history{
			T:      rt,
			policy: testPolicy(),
			signer: Signer{Certificate: 1},
			lead:   1_800_000_000*time.Second + time.Duration(rapid.Int64Range(0, 999_999_999).Draw(rt, "ns")),
		}
		h.policy.CertificateSpread = time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "spread"))
		h.pass(time.Hour)
		ttl := time.Duration(rapid.Int64Range(10, 86400).Draw(rt, "ttl")) * time.Second
		terms, err := h.policy.Terms(&Join{TTL: ttl, Caller: anybody}, h.now)
		must(rt, err)
		terms.Until = h.now.Sec() + UnixSec(rapid.Int64Range(60, 7*86400).Draw(rt, "until"))
		h.s = New(ResumeClaims{Session: rapid.StringN(1, 30, -1).Draw(rt, "id"), Terms: terms}, &h.policy, h.now)
		h.s.SetSigner(&h.signer)
		h.took(h.s.Attach(h.mint(), h.now))
		rt.Repeat(rapid.StateMachineActions(&h))
	})
}

type history struct {
	*rapid.T
	policy Policy
	now    Instant
	lead   time.Duration
	s      *Session
	signer Signer
	last   Push
	epoch  uint64

	settled time.Duration
	// unheard is when the oldest unanswered push on the connection was sent, or 0 if all were
	// answered.
	unheard time.Duration
	// answered is the seq of the newest bundle that the client has acked or nacked.
	answered uint64
}

func (h *history) sent() {
	h.s.Sent()
	if h.unheard == 0 {
		h.unheard = h.now.Mono
	}
}

func (h *history) heard(seq uint64) {
	if seq > h.answered && seq <= h.last.Seq {
		h.answered, h.unheard = seq, 0
	}
}

func (h *history) pass(d time.Duration) {
	h.now.Mono += d
	h.now.Wall = UnixNano(h.lead + h.now.Mono)
}

// mint mints the next bundle, or ends the session if its terms have ended.
func (h *history) mint() Tokens {
	issuedAt, expiresAt, err := h.s.NextValidity(h.now)
	if err != nil {
		if h.now.Sec() < h.s.Terms.Until {
			h.Fatalf("refused before its time: %v", err)
		}
		h.s.End()
		h.Skip("over")
	}
	if issuedAt > h.now.Sec() || expiresAt <= issuedAt || expiresAt.Sub(issuedAt) > MaxLifetime || expiresAt > h.s.Terms.Until {
		h.Fatalf("life from %d to %d, terms until %d", issuedAt, expiresAt, h.s.Terms.Until)
	}
	return Tokens{RTM: "t", ExpiresAt: expiresAt, Certificate: h.signer.Certificate}
}

// took checks a push that the client received against the previous push.
func (h *history) took(p Push) {
	switch {
	case p.Seq < h.last.Seq || p.Seq > h.last.Seq+1:
		h.Fatalf("seq %d after %d", p.Seq, h.last.Seq)
	case p.Seq == h.last.Seq && (p.Attempt != h.last.Attempt+1 || p.Tokens != h.last.Tokens):
		h.Fatalf("repeat %+v of %+v", p, h.last)
	case p.Seq > h.last.Seq && p.Attempt != 1:
		h.Fatalf("new bundle with attempt %d", p.Attempt)
	case p.Tokens.ExpiresAt < h.last.Tokens.ExpiresAt:
		h.Fatalf("expires at %d, after %d", p.Tokens.ExpiresAt, h.last.Tokens.ExpiresAt)
	}
	h.last = p
}

// Wait lets time pass, at most until the session's deadline, and does the task that is then due.
func (h *history) Wait(t *rapid.T) {
	if h.s.State() == Ended {
		t.Skip("ended")
	}
	wait := max(0, h.s.Deadline()-h.now.Mono)
	require(t, wait <= 30*24*time.Hour, "next attention in %s", wait)
	if rapid.Bool().Draw(t, "early") && wait > 0 {
		h.pass(time.Duration(rapid.Int64Range(0, int64(wait)-1).Draw(t, "wait")))
		if task, _ := h.s.TakeTask(h.now); task != Wait {
			t.Fatalf("task %d before the deadline", task)
		}
		return
	}
	h.pass(wait)
	attached, unconfirmed := h.s.State() == Attached, h.s.Unconfirmed()
	due, _ := h.s.renewalDue()
	switch task, cause := h.s.TakeTask(h.now); task {
	case Renew:
		require(t, attached, "renewal without a client")
		if left := h.s.HeldExpires() - h.now.Mono; !unconfirmed && h.s.held.known() {
			before := h.s.RenewBefore()
			// Expiries are rounded down to whole seconds, so a renewal may be due a second early.
			if left > before+before/2+time.Second && h.s.renewBy == 0 && cause != CauseCertificate {
				t.Fatalf("renewed with %s left, head start %s", left, before)
			}
			// Tokens that last until the terms end are replaced only because of the certificate, at any time.
			late := left < before && (cause != CauseCertificate || !h.s.final())
			if late && h.s.issued.expires-h.s.detachedAt > 2*before && h.settled <= due {
				t.Fatalf("renewed with only %s left, head start %s", left, before)
			}
		}
		// A bundle that replaces an unconfirmed one has the same cause.
		if cause == CauseCertificate && !unconfirmed && (h.last.Tokens.Certificate == h.signer.Certificate || h.now.Mono < h.signer.Since) {
			t.Fatalf("renewed for certificate %s at %s, has %s; %+v signs", h.signer.Certificate, h.now.Mono, h.last.Tokens.Certificate, h.signer)
		}
		h.took(h.s.Issue(h.mint(), cause, h.now))
		h.sent()
	case Repeat:
		h.took(h.s.Repeat(h.now))
		h.sent()
		require(t, h.s.silent <= SilentTries, "%d silent tries", h.s.silent)
	case CloseDead:
		require(t, h.s.silent >= SilentTries, "given up after %d silent tries", h.s.silent)
		h.s.Detach(h.s.Epoch(), h.now)
		h.unheard = 0
	case Unreachable:
		require(t, !attached, "unreachable with its client there")
	case TokensExpired, Expire:
		require(t, !attached || h.now.Sec() >= h.s.Terms.Until, "ended under its client, before its time")
		if task == Expire {
			h.s.End()
		}
	default:
		t.Fatal("nothing to do at the deadline")
	}
}

func (h *history) Ack(t *rapid.T) {
	seq := rapid.Uint64Range(0, h.last.Seq+1).Draw(t, "seq")
	wasDue, was := h.s.Deadline(), h.s.Unconfirmed()
	a, err := h.s.Ack(seq, h.now)
	switch {
	case (err != nil) != (seq > h.last.Seq):
		t.Fatalf("ack %d of %d: %v", seq, h.last.Seq, err)
	case a.Settled != (was && seq == h.last.Seq):
		t.Fatalf("ack %d of %d settled: %v", seq, h.last.Seq, a.Settled)
	case !a.Settled && h.s.Deadline() != wasDue:
		t.Fatal("an ack that settles nothing moved the deadline")
	}
	h.heard(seq)
	if a.Settled {
		h.unheard, h.settled = 0, h.now.Mono
	}
}

func (h *history) Nack(t *rapid.T) {
	if h.s.State() != Attached {
		t.Skip("not attached")
	}
	if _, err := h.s.Nack(h.last.Seq, h.now); err != nil {
		t.Fatal(err)
	}
	require(t, h.s.Deadline() <= h.now.Mono+h.policy.AckTimeout, "a refusal that is not answered soon")
	h.heard(h.last.Seq)
}

// Ask requests tokens on the connection.
func (h *history) Ask(t *rapid.T) {
	if h.s.State() != Attached {
		t.Skip("not attached")
	}
	unconfirmed := h.s.Unconfirmed()
	switch task := h.s.RenewRequested(h.now); {
	case task == Repeat && unconfirmed:
		due := h.s.Deadline()
		h.took(h.s.Again(h.now))
		require(t, h.s.Deadline() == due, "asking moved the deadline")
	case task == Renew && !unconfirmed:
		h.took(h.s.Issue(h.mint(), CauseRenew, h.now))
		h.sent()
	case task == Wait:
		require(t, h.s.Deadline() <= h.now.Mono+max(renewEvery, h.policy.AckTimeout), "asked, and nothing comes soon")
	default:
		t.Fatalf("task %d, unconfirmed: %v", task, unconfirmed)
	}
}

// Fetch requests tokens over HTTP.
func (h *history) Fetch(t *rapid.T) {
	if h.s.State() == Ended {
		t.Skip("ended")
	}
	if h.s.RenewRequestedOverHTTP(h.now) == Repeat {
		h.took(h.s.Again(h.now))
	} else {
		h.took(h.s.Issue(h.mint(), CauseRenew, h.now))
	}
}

func (h *history) Lose(*rapid.T) { h.s.Detach(h.s.Epoch(), h.now) }

// Resume gives the session a new connection. The client's seq is random.
func (h *history) Resume(t *rapid.T) {
	if h.s.State() == Ended {
		t.Skip("ended")
	}
	must(t, h.s.Admit(h.s.Epoch()))
	h.s.Confirm(rapid.Uint64Range(0, h.last.Seq).Draw(t, "seq"), 0, h.now)
	h.took(h.s.Attach(h.mint(), h.now))
	h.unheard = h.now.Mono
}

// Move continues the session on another node, from its record.
func (h *history) Move(t *rapid.T) {
	if h.s.State() == Ended {
		t.Skip("ended")
	}
	r := h.s.Record("", h.now)
	was := h.s
	h.s = Restore(r, was.policy, h.now)
	h.s.SetSigner(&h.signer)
	h.unheard, h.answered = 0, 0 // the other node does not know these values
	if was.State() == Detached {
		moved := h.s.Record("", h.now)
		require(t, moved == r, "recorded as %+v, was %+v", moved, r)
		// The record rounds wall-clock times to whole seconds or milliseconds, so the deadline may
		// move by up to a second.
		require(t, (h.s.Deadline()-was.Deadline()).Abs() <= time.Second || h.lead != 0, "the deadline moved by %s", h.s.Deadline()-was.Deadline())
	}
}

// Step sets the wall clock forward. It never sets the clock back, since then only MaxLifetime would
// limit the tokens, which another test checks.
func (h *history) Step(t *rapid.T) {
	step := time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "step"))
	h.lead += step
	h.pass(0)
	h.s.ClockStepped(step, 30*time.Second, h.now)
}

// Rotate changes the signing certificate, to a new one or the previous one.
func (h *history) Rotate(t *rapid.T) {
	h.signer = Signer{Certificate: Fingerprint(rapid.Uint32Range(1, 3).Draw(t, "certificate")), Since: h.now.Mono}
	h.s.SetSigner(&h.signer)
}

func (h *history) Check(t *rapid.T) {
	require(t, h.s.Epoch() >= h.epoch, "epoch %d after %d", h.s.Epoch(), h.epoch)
	h.epoch = h.s.Epoch()
	require(t, h.s.State() == Ended || h.s.Deadline() != never, "a session without a deadline")
	if d := h.s.Deadline(); h.s.State() == Attached && h.s.outdated() && !h.s.Unconfirmed() && d > max(h.now.Mono, h.signer.Since+h.policy.CertificateSpread) {
		t.Fatalf("signed with %s, and due in %s only", h.s.issued.certificate, d-h.now.Mono)
	}
	// One more AckTimeout is allowed, since another bundle may have been minted when the tokens
	// expired.
	if h.s.State() == Attached && h.unheard != 0 && h.now.Mono-h.unheard > (SilentTries+1)*h.policy.AckTimeout {
		t.Fatalf("no answer for %s, and the connection stands", h.now.Mono-h.unheard)
	}
}

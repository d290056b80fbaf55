package session

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	certA Fingerprint = 0xA
	certB Fingerprint = 0xB
	certC Fingerprint = 0xC
)

// rotating returns a world whose node signs with certificate A and spreads a rotation over 5
// minutes. If attach is true, a client is attached.
func rotating(t *testing.T, ttl time.Duration, attach bool) *world {
	t.Helper()
	w := newWorld(t, ttl)
	w.policy.CertificateSpread = 5 * time.Minute
	w.sign(certA)
	if attach {
		w.attach()
	}
	return w
}

// approves makes approvals required from now on. Your back end has just approved the next bundle.
func (w *world) approves(ahead, grace time.Duration) {
	w.policy.ApprovalAhead, w.policy.ApprovalGrace = ahead, grace
	w.s.Approve(0, w.now)
}

// sign makes f the certificate with which the node signs from now on.
func (w *world) sign(f Fingerprint) { w.s.SetSigner(&Signer{Certificate: f, Since: w.now.Mono}) }

// place returns the time within the spread at which the session is renewed, if no approval is
// required.
func (w *world) place() time.Duration {
	return time.Duration(fraction(w.s.ID) * float64(w.policy.CertificateSpread))
}

// After a change of the certificate, a session is renewed once, at its own time within the spread.
func TestOutdatedTokensAreRenewedWithinTheSpread(t *testing.T) {
	w := rotating(t, time.Hour, true)
	w.pass(time.Minute)
	w.sign(certB)
	w.passBy(w.place())
	w.dueFor(CauseCertificate)
	p := w.issue(CauseCertificate)
	check(t, p.Tokens.Certificate == certB, "signed with %s", p.Tokens.Certificate)
	w.ack(p.Seq)
	check(t, w.s.Certificate() == certB, "holds %s after the ack", w.s.Certificate())
	w.nextFor(CauseSchedule)
}

// A session whose scheduled renewal comes before its time in the spread is renewed as scheduled,
// and not again for the certificate.
func TestScheduleComesFirst(t *testing.T) {
	w := rotating(t, time.Minute, false)
	w.policy.CertificateSpread = time.Hour
	w.attach()
	w.sign(certB)
	w.nextFor(CauseSchedule)
	w.ack(w.issue(CauseSchedule).Seq)
	check(t, !w.s.outdated(), "outdated after a renewal")
}

// After two changes within one spread, all sessions have tokens of the last certificate, even those
// that were renewed for the first change. If the second change is back to the old certificate,
// sessions that still have its tokens are not renewed.
func TestASecondRotationWithinTheFirst(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		for _, last := range []Fingerprint{certA, certC} {
			t.Run(fmt.Sprint(renewed, last), func(t *testing.T) {
				w := rotating(t, time.Hour, true)
				w.sign(certB)
				if renewed {
					w.passTo()
					w.ack(w.issue(w.due(Renew)).Seq)
				} else {
					w.pass(w.place() / 2)
				}
				w.sign(last)
				if !renewed && last == certA {
					w.nextFor(CauseSchedule)
					return
				}
				w.passBy(w.place())
				w.dueFor(CauseCertificate)
				w.ack(w.issue(CauseCertificate).Seq)
				check(t, w.s.Certificate() == last && !w.s.outdated(), "holds %s", w.s.Certificate())
			})
		}
	}
}

// An unconfirmed bundle of the old certificate is not replaced before the client has answered it.
func TestUnconfirmedTokensAreConfirmedFirst(t *testing.T) {
	w := rotating(t, time.Hour, true)
	p := w.issue(CauseRenew)
	w.sign(certB)
	w.pass(w.policy.AckTimeout)
	w.due(Repeat)
	w.repeat()
	w.pass(w.policy.AckTimeout / 2)
	w.ack(p.Seq)
	w.pass(w.place())
	w.dueFor(CauseCertificate)
}

// A session is renewed once for the certificate even if its new tokens cannot expire later than the
// old ones.
func TestTheLastTokensAreRenewedForTheCertificate(t *testing.T) {
	w := rotating(t, time.Hour, false)
	w.s.Terms.Until = w.now.Sec().Add(time.Hour)
	w.attach()
	require(t, w.s.final(), "not final")
	w.sign(certB)
	w.nextFor(CauseCertificate)
	p := w.issue(CauseCertificate)
	check(t, p.Tokens.ExpiresAt == w.s.Terms.Until, "expires at %d, terms until %d", p.Tokens.ExpiresAt, w.s.Terms.Until)
	w.ack(p.Seq)
	w.next(Expire)
}

// A detached session gets tokens of the new certificate when its client returns, not before.
func TestAClientThatIsAwayIsNotRenewed(t *testing.T) {
	w := rotating(t, time.Hour, true)
	w.s.Detach(w.s.Epoch(), w.now)
	before := w.s.Deadline()
	w.sign(certB)
	check(t, w.s.Deadline() == before, "the deadline moved by %s", w.s.Deadline()-before)
	w.pass(time.Minute)
	p := w.attach()
	w.ack(p.Seq)
	check(t, p.Tokens.Certificate == certB && !w.s.outdated(), "came back to tokens of %s", p.Tokens.Certificate)
}

// Tokens whose certificate is unknown do not count as outdated.
func TestTokensOfAnUnknownCertificateAreLeftAlone(t *testing.T) {
	w := rotating(t, time.Hour, true)
	r := w.s.Record("", w.now)
	for _, f := range []Fingerprint{certA, 0} {
		r.Certificate = f
		s := Restore(r, &w.policy, w.now)
		s.SetSigner(&Signer{Certificate: certB, Since: w.now.Mono})
		check(t, s.Certificate() == f && s.outdated() == (f == certA), "of %s: has %s, outdated %v", f, s.Certificate(), s.outdated())
	}
}

// Until a client confirms tokens of another certificate, the certificate of its tokens is unknown,
// also after the session has moved to another node.
func TestUnconfirmedTokensMayBeInUse(t *testing.T) {
	w := rotating(t, time.Hour, true)
	want := func(when string, f Fingerprint) {
		t.Helper()
		r := w.s.Record("", w.now)
		if got := Restore(r, &w.policy, w.now).Certificate(); w.s.Certificate() != f || r.Certificate != f || got != f {
			t.Errorf("%s: %s, record %s, restored %s; want %s", when, w.s.Certificate(), r.Certificate, got, f)
		}
	}
	want("joined", certA)
	w.issue(CauseSchedule)
	want("pushed, signed by the same", certA)
	w.sign(certB)
	p := w.issue(CauseCertificate)
	want("pushed, signed by another", 0)
	w.s.Detach(w.s.Epoch(), w.now)
	want("and gone", 0)
	w.ack(p.Seq)
	want("confirmed", certB)
}

// If the client confirms a bundle that this node has no record of, the certificate of its tokens is
// unknown.
func TestTokensOfAnotherNodeAreUnknown(t *testing.T) {
	for _, unconfirmed := range []bool{false, true} {
		for _, expiresAt := range []UnixSec{0, 1} {
			w := rotating(t, time.Hour, true)
			if unconfirmed {
				w.issue(CauseSchedule)
			}
			w.s.Confirm(w.s.issued.seq+1, expiresAt*w.s.issued.expiresAt, w.now)
			f := w.s.Certificate()
			check(t, f == 0, "unconfirmed %v, expiry %d: signed with %s", unconfirmed, expiresAt, f)
		}
	}
}

// Setting the wall clock does not move the renewals of a rotation.
func TestTheWallClockDoesNotMoveARotation(t *testing.T) {
	for _, step := range []time.Duration{-30 * time.Minute, 30 * time.Minute} {
		w := rotating(t, 2*time.Hour, true)
		w.sign(certB)
		w.now.Wall = w.now.Wall.Add(step)
		w.s.ClockStepped(step, 30*time.Second, w.now)
		w.passBy(w.place())
		w.dueFor(CauseCertificate)
	}
}

// Approval is requested within the spread, before the renewal.
func TestTheBackEndIsAskedBeforeARotation(t *testing.T) {
	w := rotating(t, time.Hour, false)
	w.approves(15*time.Second, time.Minute)
	w.attach()
	w.pass(time.Minute)
	w.sign(certB)
	began := w.now.Mono
	asked := w.passTo()
	w.due(Ask)
	seq := w.s.BeginApproval(w.now)
	w.pass(time.Second)
	require(t, w.s.AwaitsApproval(seq), "the answer does not count")
	w.s.Approve(0, w.now)
	w.nextFor(CauseCertificate)
	if at := w.now.Mono - began; at-asked < 15*time.Second || at > w.policy.CertificateSpread {
		t.Errorf("asked after %s, renewed after %s", asked, at)
	}
}

// change is a change of the signing certificate, at a second after the start.
type change struct {
	at   int
	sign Fingerprint
}

// With many sessions, no second has more than twice the average number of renewals or of requests
// for approval, whatever the sequence of changes.
func TestRotationIsSpreadEvenly(t *testing.T) {
	for name, c := range map[string]struct {
		asked   bool
		changes []change
	}{
		"one rotation":        {changes: []change{{0, certB}}},
		"asked":               {asked: true, changes: []change{{0, certB}}},
		"back in the middle":  {changes: []change{{0, certB}, {150, certA}}},
		"a second within":     {changes: []change{{0, certB}, {100, certC}}},
		"again and again":     {changes: []change{{0, certB}, {20, certA}, {40, certB}, {60, certA}, {80, certB}}},
		"three, one unwanted": {changes: []change{{0, certB}, {250, certC}, {290, certB}}},
	} {
		t.Run(name, func(t *testing.T) {
			const sessions, spread = 30_000, 300
			var renewals, questions [3 * spread]int
			for i := range sessions {
				w := rotating(t, 2*time.Hour, false)
				// hashes are as evenly spread as random ids
				w.s.ID = fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
				if c.asked {
					w.approves(15*time.Second, 0)
				}
				w.attach()
				w.rotate(c.changes, renewals[:], questions[:])
			}
			for name, each := range map[string][]int{"renewals": renewals[:], "questions": questions[:]} {
				most := slices.Max(each)
				check(t, most <= 2*sessions/spread, "%d %s in a second; twice the share is %d", most, name, 2*sessions/spread)
			}
			t.Logf("at most %d renewals and %d questions in a second, of %d sessions over %d s", slices.Max(renewals[:]), slices.Max(questions[:]), sessions, spread)
		})
	}
}

// rotate applies changes of the certificate. It counts the renewals and the requests for approval
// in each second.
func (w *world) rotate(changes []change, renewals, questions []int) {
	w.t.Helper()
	began := w.now.Mono
	for i, c := range changes {
		w.pass(began + time.Duration(c.at)*time.Second - w.now.Mono)
		w.sign(c.sign)
		end := began + time.Duration(len(renewals))*time.Second
		if i+1 < len(changes) {
			end = began + time.Duration(changes[i+1].at)*time.Second
		}
		for w.s.Deadline() < end {
			w.passTo()
			second := int((w.now.Mono - began) / time.Second)
			switch task, cause := w.s.TakeTask(w.now); {
			case task == Ask:
				questions[second]++
				w.s.BeginApproval(w.now)
				w.s.Approve(0, w.now)
			case task == Renew && cause == CauseCertificate:
				renewals[second]++
				w.ack(w.issue(cause).Seq)
			default:
				w.t.Fatalf("task %d for %q", task, cause)
			}
		}
	}
	require(w.t, !w.s.outdated(), "outdated at the end")
}

func TestFingerprintInHexadecimal(t *testing.T) {
	for f, want := range map[Fingerprint]string{0: "", 0xabc: "00000abc", 0xffffffff: "ffffffff"} {
		got := f.String()
		check(t, got == want, "%d: %q, want %q", uint32(f), got, want)
	}
}

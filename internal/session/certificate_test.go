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

// rotating is a world whose node signs with certificate A, over a spread of 5 minutes.
func rotating(t *testing.T, ttl time.Duration) *world {
	t.Helper()
	w := newWorld(t, ttl)
	w.policy.CertificateSpread = 5 * time.Minute
	w.sign(certA)
	return w
}

// approves has the back end asked from now on, which has just agreed.
func (w *world) approves(ahead, grace time.Duration) {
	w.policy.ApprovalAhead, w.policy.ApprovalGrace = ahead, grace
	w.s.Approve(0, w.now)
}

// sign has the node sign with a certificate from now on.
func (w *world) sign(f Fingerprint) { w.s.SetSigner(&Signer{Certificate: f, Since: w.now.Mono}) }

// place is where the session stands in the spread, with nobody to ask.
func (w *world) place() time.Duration {
	return time.Duration(fraction(w.s.ID) * float64(w.policy.CertificateSpread))
}

// TestOutdatedTokensAreRenewedWithinTheSpread: the session is due at its own place, once.
func TestOutdatedTokensAreRenewedWithinTheSpread(t *testing.T) {
	w := rotating(t, time.Hour)
	w.attach()
	w.pass(time.Minute)
	w.sign(certB)
	if wait := w.passTo(); wait != w.place() {
		t.Errorf("due after %s, want %s", wait, w.place())
	}
	if cause := w.due(Renew); cause != CauseCertificate {
		t.Errorf("renewed for %q", cause)
	}
	p := w.issue(CauseCertificate)
	if p.Tokens.Certificate != certB {
		t.Errorf("signed with %s", p.Tokens.Certificate)
	}
	w.ack(p.Seq)
	if w.s.Certificate() != certB {
		t.Errorf("holds %s after the ack", w.s.Certificate())
	}
	w.passTo()
	if cause := w.due(Renew); cause != CauseSchedule {
		t.Errorf("then renewed for %q", cause)
	}
}

// TestScheduleComesFirst: what is due before its place in the spread is renewed as
// scheduled, and not again for the certificate.
func TestScheduleComesFirst(t *testing.T) {
	w := rotating(t, time.Minute)
	w.policy.CertificateSpread = time.Hour
	w.attach()
	w.sign(certB)
	w.passTo()
	if cause := w.due(Renew); cause != CauseSchedule {
		t.Fatalf("renewed for %q", cause)
	}
	w.ack(w.issue(CauseSchedule).Seq)
	if w.s.outdated() {
		t.Error("outdated after a renewal")
	}
}

// TestBackToTheOldCertificate: whoever was not renewed yet has nothing to do, whoever
// was is renewed again.
func TestBackToTheOldCertificate(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		t.Run(fmt.Sprint(renewed), func(t *testing.T) {
			w := rotating(t, time.Hour)
			w.attach()
			w.sign(certB)
			if renewed {
				w.passTo()
				w.ack(w.issue(w.due(Renew)).Seq)
			} else {
				w.pass(w.place() / 2)
			}
			w.sign(certA)
			wait := w.passTo()
			cause := w.due(Renew)
			if renewed && (cause != CauseCertificate || wait != w.place()) || !renewed && cause != CauseSchedule {
				t.Errorf("renewed for %q after %s", cause, wait)
			}
		})
	}
}

// TestASecondRotationWithinTheFirst: everybody ends with the last certificate, those
// that were renewed for the first as well as the others.
func TestASecondRotationWithinTheFirst(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		w := rotating(t, time.Hour)
		w.attach()
		w.sign(certB)
		if renewed {
			w.passTo()
			w.ack(w.issue(w.due(Renew)).Seq)
		} else {
			w.pass(w.place() / 2)
		}
		w.sign(certC)
		if wait := w.passTo(); wait != w.place() {
			t.Errorf("renewed %v: due after %s, want %s", renewed, wait, w.place())
		}
		p := w.issue(w.due(Renew))
		if w.ack(p.Seq); w.s.Certificate() != certC || w.s.outdated() {
			t.Errorf("renewed %v: holds %s", renewed, w.s.Certificate())
		}
	}
}

// TestUnconfirmedTokensAreConfirmedFirst: tokens on their way under the old certificate
// are not replaced before the client has answered.
func TestUnconfirmedTokensAreConfirmedFirst(t *testing.T) {
	w := rotating(t, time.Hour)
	w.attach()
	p := w.issue(CauseRenew)
	w.sign(certB)
	w.pass(w.policy.AckTimeout)
	w.due(Repeat)
	w.repeat()
	w.pass(w.policy.AckTimeout / 2)
	w.ack(p.Seq)
	w.pass(w.place())
	if cause := w.due(Renew); cause != CauseCertificate {
		t.Errorf("renewed for %q", cause)
	}
}

// TestTheLastTokensAreRenewedForTheCertificate: also where no later expiry can be given,
// and once only.
func TestTheLastTokensAreRenewedForTheCertificate(t *testing.T) {
	w := rotating(t, time.Hour)
	w.s.Terms.Until = w.now.Sec().Add(time.Hour)
	w.attach()
	if !w.s.final() {
		t.Fatal("not final")
	}
	w.sign(certB)
	w.passTo()
	if cause := w.due(Renew); cause != CauseCertificate {
		t.Fatalf("renewed for %q", cause)
	}
	p := w.issue(CauseCertificate)
	if p.Tokens.ExpiresAt != w.s.Terms.Until {
		t.Errorf("expires at %d, terms until %d", p.Tokens.ExpiresAt, w.s.Terms.Until)
	}
	w.ack(p.Seq)
	w.passTo()
	w.due(Expire)
}

// TestAClientThatIsAwayIsNotRenewed: it gets tokens of the new certificate when it is
// back.
func TestAClientThatIsAwayIsNotRenewed(t *testing.T) {
	w := rotating(t, time.Hour)
	w.attach()
	w.s.Detach(w.s.Epoch(), w.now)
	before := w.s.Deadline()
	w.sign(certB)
	if w.s.Deadline() != before {
		t.Errorf("the deadline moved by %s", w.s.Deadline()-before)
	}
	w.pass(time.Minute)
	p := w.attach()
	w.ack(p.Seq)
	if p.Tokens.Certificate != certB || w.s.outdated() {
		t.Errorf("came back to tokens of %s", p.Tokens.Certificate)
	}
}

// TestTokensOfAnUnknownCertificateAreLeftAlone: nothing says that they are outdated.
func TestTokensOfAnUnknownCertificateAreLeftAlone(t *testing.T) {
	w := rotating(t, time.Hour)
	w.attach()
	r := w.s.Record("", w.now)
	for _, f := range []Fingerprint{certA, 0} {
		r.Certificate = f
		s := Restore(r, &w.policy, w.now)
		s.SetSigner(&Signer{Certificate: certB, Since: w.now.Mono})
		if s.Certificate() != f || s.outdated() != (f == certA) {
			t.Errorf("of %s: has %s, outdated %v", f, s.Certificate(), s.outdated())
		}
	}
}

// TestUnconfirmedTokensMayBeInUse: a client that was given tokens may have them, or those
// before. Either is to be counted, also by the next node.
func TestUnconfirmedTokensMayBeInUse(t *testing.T) {
	w := rotating(t, time.Hour)
	w.attach()
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

// TestTokensOfAnotherNodeAreUnknown: a client may hold tokens that this node was never told
// of, whether or not its own are confirmed, and whenever those of the other node end.
func TestTokensOfAnotherNodeAreUnknown(t *testing.T) {
	for _, unconfirmed := range []bool{false, true} {
		for _, expiresAt := range []UnixSec{0, 1} {
			w := rotating(t, time.Hour)
			w.attach()
			if unconfirmed {
				w.issue(CauseSchedule)
			}
			w.s.Confirm(w.s.issued.seq+1, expiresAt*w.s.issued.expiresAt, w.now)
			if f := w.s.Certificate(); f != 0 {
				t.Errorf("unconfirmed %v, expiry %d: signed with %s", unconfirmed, expiresAt, f)
			}
		}
	}
}

// TestTheWallClockDoesNotMoveARotation: places are on the monotonic clock.
func TestTheWallClockDoesNotMoveARotation(t *testing.T) {
	for _, step := range []time.Duration{-30 * time.Minute, 30 * time.Minute} {
		w := rotating(t, 2*time.Hour)
		w.attach()
		w.sign(certB)
		w.now.Wall = w.now.Wall.Add(step)
		w.s.ClockStepped(step, 30*time.Second, w.now)
		if wait := w.passTo(); wait != w.place() {
			t.Errorf("step of %s: due after %s, want %s", step, wait, w.place())
		}
		if cause := w.due(Renew); cause != CauseCertificate {
			t.Errorf("step of %s: renewed for %q", step, cause)
		}
	}
}

// TestTheBackEndIsAskedBeforeARotation: as for every renewal; the request comes within
// the spread, and not at once for a part of all sessions.
func TestTheBackEndIsAskedBeforeARotation(t *testing.T) {
	w := rotating(t, time.Hour)
	w.approves(15*time.Second, time.Minute)
	w.attach()
	w.pass(time.Minute)
	w.sign(certB)
	began := w.now.Mono
	asked := w.passTo()
	w.due(Ask)
	seq := w.s.BeginApproval(w.now)
	w.pass(time.Second)
	if !w.s.AwaitsApproval(seq) {
		t.Fatal("the answer does not count")
	}
	w.s.Approve(0, w.now)
	w.passTo()
	if cause := w.due(Renew); cause != CauseCertificate {
		t.Fatalf("renewed for %q", cause)
	}
	if at := w.now.Mono - began; at-asked < 15*time.Second || at > w.policy.CertificateSpread {
		t.Errorf("asked after %s, renewed after %s", asked, at)
	}
}

// change has another certificate sign from a second on.
type change struct {
	at   int
	sign Fingerprint
}

// TestRotationIsSpreadEvenly: of many sessions, no second has twice its share of
// renewals, nor of questions to the back end, whatever the certificates do meanwhile.
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
				w := rotating(t, 2*time.Hour)
				w.s.ID = fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)})) // as evenly spread as random ones
				if c.asked {
					w.approves(15*time.Second, 0)
				}
				w.attach()
				w.rotate(c.changes, renewals[:], questions[:])
			}
			for name, each := range map[string][]int{"renewals": renewals[:], "questions": questions[:]} {
				if most := slices.Max(each); most > 2*sessions/spread {
					t.Errorf("%d %s in a second; twice the share is %d", most, name, 2*sessions/spread)
				}
			}
			t.Logf("at most %d renewals and %d questions in a second, of %d sessions over %d s", slices.Max(renewals[:]), slices.Max(questions[:]), sessions, spread)
		})
	}
}

// rotate plays changes of the certificate, and counts by the second what they bring.
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
	if w.s.outdated() {
		w.t.Fatal("outdated at the end")
	}
}

func TestFingerprintInHexadecimal(t *testing.T) {
	for f, want := range map[Fingerprint]string{0: "", 0xabc: "00000abc", 0xffffffff: "ffffffff"} {
		if got := f.String(); got != want {
			t.Errorf("%d: %q, want %q", uint32(f), got, want)
		}
	}
}

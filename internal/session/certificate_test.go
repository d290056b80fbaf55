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

// rotating returns a test session (world). Its node signs with certificate A, and spreads the
// renewals after a change of the certificate over 5 minutes.
func rotating(t *testing.T, ttl time.Duration) *world {
	t.Helper()
	w := newWorld(t, ttl)
	w.policy.CertificateSpread = 5 * time.Minute
	w.sign(certA)
	return w
}

// rotatingAttached is like rotating, but the client has joined and has tokens of an hour.
func rotatingAttached(t *testing.T) *world {
	t.Helper()
	w := rotating(t, time.Hour)
	w.attach()
	return w
}

// sign makes f the certificate with which the node signs from now on.
func (w *world) sign(f Fingerprint) { w.s.SetSigner(&Signer{Certificate: f, Since: w.now.Mono}) }

// place returns how long after the change of the certificate the session is renewed, if no approval
// is required.
func (w *world) place() time.Duration {
	return time.Duration(fraction(w.s.ID) * float64(w.policy.CertificateSpread))
}

// After a change of the certificate, a session is renewed once. The time lies within
// Policy.CertificateSpread, and differs from session to session. Setting the wall clock does not
// move that time.
func TestOutdatedTokensAreRenewedWithinTheSpread(t *testing.T) {
	for _, step := range []time.Duration{0, -30 * time.Minute, 30 * time.Minute} {
		w := rotatingAttached(t)
		w.pass(time.Minute)
		w.sign(certB)
		w.now.Wall = w.now.Wall.Add(step)
		w.s.ClockStepped(step, 30*time.Second, w.now)
		w.nextAfter(w.place(), Renew, CauseCertificate)
		w.ack(w.issue(CauseCertificate).Seq)
		equal(t, "certificate", w.s.Certificate(), certB)
		w.next(Renew, CauseSchedule)
	}
}

// A session whose scheduled renewal comes before its time in the spread is renewed as scheduled,
// and not again for the certificate.
func TestScheduleComesFirst(t *testing.T) {
	w := rotating(t, time.Minute)
	w.policy.CertificateSpread = time.Hour
	w.attach()
	w.sign(certB)
	w.ack(w.renew().Seq)
	check(t, !w.s.outdated(), "outdated after a renewal")
}

// After two changes within one spread, all sessions have tokens of the last certificate. If the
// second change is back to the old certificate, sessions that still have its tokens are not renewed.
func TestASecondRotationWithinTheFirst(t *testing.T) {
	for _, last := range []Fingerprint{certA, certC} {
		w := rotatingAttached(t)
		w.sign(certB)
		w.pass(w.place() / 2)
		w.sign(last)
		if last == certA {
			w.next(Renew, CauseSchedule)
			continue
		}
		w.nextAfter(w.place(), Renew, CauseCertificate)
		w.ack(w.issue(CauseCertificate).Seq)
		equal(t, "certificate", w.s.Certificate(), last)
	}
}

// An unconfirmed bundle of the old certificate is not replaced before the client has answered it.
func TestUnconfirmedTokensAreConfirmedFirst(t *testing.T) {
	w := rotatingAttached(t)
	p := w.issue(CauseRenew)
	w.sign(certB)
	w.nextAfter(w.policy.AckTimeout, Repeat, "")
	w.pass(w.place())
	w.ack(p.Seq)
	w.next(Renew, CauseCertificate)
}

// After a change of the App Certificate, a session is renewed once even if its new tokens cannot
// expire later than the old ones.
func TestTheLastTokensAreRenewedForTheCertificate(t *testing.T) {
	w := rotating(t, time.Hour)
	w.s.Terms.Until = w.now.Sec().Add(time.Hour)
	w.attach()
	w.sign(certB)
	w.next(Renew, CauseCertificate)
	p := w.issue(CauseCertificate)
	equal(t, "expiry", p.Tokens.ExpiresAt, w.s.Terms.Until)
	w.ack(p.Seq)
	w.next(Expire, "")
}

// A detached session gets tokens of the new certificate when its client returns, not before.
func TestADetachedSessionIsNotRenewed(t *testing.T) {
	w := rotatingAttached(t)
	w.s.Detach(w.s.Epoch(), w.now)
	before := w.s.Deadline()
	w.sign(certB)
	equal(t, "deadline", w.s.Deadline(), before)
	w.ack(w.attach().Seq)
	check(t, !w.s.outdated(), "outdated after a resume")
}

// Tokens whose certificate is unknown do not count as outdated.
func TestTokensOfAnUnknownCertificateAreLeftAlone(t *testing.T) {
	w := rotatingAttached(t)
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
	w := rotatingAttached(t)
	want := func(when string, f Fingerprint) {
		t.Helper()
		r := w.s.Record("", w.now)
		restored := Restore(r, &w.policy, w.now).Certificate()
		equal(t, when, [3]Fingerprint{w.s.Certificate(), r.Certificate, restored}, [3]Fingerprint{f, f, f})
	}
	w.issue(CauseSchedule)
	want("pushed, signed by the same", certA)
	w.sign(certB)
	p := w.issue(CauseCertificate)
	want("pushed, signed by another", 0)
	w.ack(p.Seq)
	w.s.Confirm(p.Seq, 0, w.now)
	want("confirmed", certB)
	w.s.Confirm(p.Seq+1, 0, w.now)
	want("confirmed a bundle of another node", 0)
}

// Approval is requested within the spread, before the renewal.
func TestApprovalIsRequestedBeforeARotation(t *testing.T) {
	w := rotating(t, time.Hour)
	w.policy.ApprovalAhead, w.policy.ApprovalGrace = 15*time.Second, time.Minute
	w.s.Approve(0, w.now)
	w.attach()
	w.sign(certB)
	asked := w.next(Ask, CauseCertificate)
	seq := w.s.BeginApproval(w.now)
	w.pass(time.Second)
	require(t, w.s.AwaitsApproval(seq), "the answer does not count")
	w.s.Approve(0, w.now)
	rest := time.Second + w.next(Renew, CauseCertificate)
	check(t, rest == 15*time.Second && asked+rest <= w.policy.CertificateSpread, "asked after %s, renewed %s later", asked, rest)
}

// With many sessions, no second has more than twice the average number of renewals, even if the
// certificate changes again and again within the spread.
func TestRotationIsSpreadEvenly(t *testing.T) {
	const sessions, spread = 3000, 30
	for _, changes := range [][]int{{0}, {0, 15}, {0, 2, 4, 6, 8}} {
		var renewals [3 * spread]int
		for i := range sessions {
			w := rotating(t, 2*time.Hour)
			w.policy.CertificateSpread = spread * time.Second
			// hashes are as evenly spread as random ids
			w.s.ID = fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
			w.attach()
			began := w.now.Mono
			for second := range renewals {
				w.pass(began + time.Duration(second)*time.Second - w.now.Mono)
				if n := slices.Index(changes, second); n >= 0 {
					w.sign([]Fingerprint{certB, certA}[n%2])
				}
				for w.s.Deadline() < w.now.Mono+time.Second {
					w.next(Renew, CauseCertificate)
					renewals[second]++
					w.ack(w.issue(CauseCertificate).Seq)
				}
			}
			require(t, !w.s.outdated(), "outdated at the end")
		}
		most := slices.Max(renewals[:])
		check(t, most <= 2*sessions/spread, "changes at %v: %d renewals in a second, more than twice the average of %d", changes, most, sessions/spread)
	}
}

func TestFingerprintInHexadecimal(t *testing.T) {
	for f, want := range map[Fingerprint]string{0: "", 0xabc: "00000abc", 0xffffffff: "ffffffff"} {
		equal(t, "text", f.String(), want)
	}
}

package session

import (
	"strings"
	"testing"
	"time"
)

func TestTermsKeepTheLifetimeInBounds(t *testing.T) {
	p := testPolicy()
	for ttl, want := range map[time.Duration]time.Duration{0: p.TTL, p.MinTTL: p.MinTTL, p.MaxTTL: p.MaxTTL, -time.Second: 0, p.MinTTL - time.Second: 0, p.MaxTTL + time.Second: 0} {
		terms, err := p.Terms(&Join{TTL: ttl, Caller: anybody}, Instant{Wall: 1_800_000_000_000_000_000})
		equal(t, "lifetime for "+ttl.String(), terms.TTL, want)
		if want == 0 {
			wantCode(t, err, CodeBadRequest)
		} else {
			equal(t, "end", terms.Until, 1_800_000_000+7*86400)
		}
	}
}

func TestPolicyNamesTheSettingThatIsWrong(t *testing.T) {
	good := testPolicy()
	good.MinTTL, good.ResumeWindow = 3*time.Second, 0
	must(t, good.Check())
	for name, spoil := range map[string]func(*Policy){
		"token-ttl, min-ttl, max-ttl": func(p *Policy) { p.TTL += time.Millisecond },
		// A RenewBefore of half a second would be rounded down to 0, and tokens would be renewed only when they expire.
		"renew-before: want whole seconds": func(p *Policy) { p.RenewBefore = 500 * time.Millisecond },
		"min-ttl":                          func(p *Policy) { p.MinTTL = 3*time.Second - 1 },
		"max-ttl":                          func(p *Policy) { p.MaxTTL = 25 * time.Hour },
		"token-ttl":                        func(p *Policy) { p.TTL = time.Second },
		"max-session":                      func(p *Policy) { p.MaxSession = 0 },
		"renew-before":                     func(p *Policy) { p.RenewBefore = -1 },
		"ack-timeout":                      func(p *Policy) { p.AckTimeout = 0 },
		"resume-window":                    func(p *Policy) { p.ResumeWindow = -1 },
		"authorize-grace":                  func(p *Policy) { p.ApprovalGrace = -1 },
		"certificate-spread":               func(p *Policy) { p.CertificateSpread = 25 * time.Hour },
	} {
		p := testPolicy()
		spoil(&p)
		err := p.Check()
		check(t, err != nil && strings.HasPrefix(err.Error(), name) && strings.Contains(err.Error(), ": want "), "%s: %v", name, err)
	}
}

func TestExplicitRenewBeforeIsAtMostHalfTheLife(t *testing.T) {
	p := Policy{RenewBefore: time.Minute}
	equal(t, "head start of an hour", p.HeadStart(time.Hour), time.Minute)
	equal(t, "head start of 30 s", p.HeadStart(30*time.Second), 15*time.Second)
}

// The jitter is spread evenly over its whole range, from 0 to half of renewBefore.
func TestJitterSpreadsSessions(t *testing.T) {
	const n = 10_000
	var tenths [10]int
	for i := range n {
		id := strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String()
		tenths[Jitter(id, 300*time.Second)/(15*time.Second)]++
	}
	for i, got := range tenths {
		check(t, got >= n/10*8/10 && got <= n/10*12/10, "tenth %d of the range has %d of %d sessions", i, got, n)
	}
}

// The times of scheduled renewals are rounded down to a multiple of tick. The times of repeated
// pushes and of requested renewals are not.
func TestScheduledRenewalsFallOnOneGrid(t *testing.T) {
	for _, ttl := range []time.Duration{10 * time.Second, time.Minute, time.Hour, MaxLifetime} {
		w := attached(t, ttl)
		w.pass(ttl/3 + 7*time.Millisecond)
		before := w.s.RenewBefore()
		exact := w.s.issued.expires - before - Jitter(w.s.ID, before)
		equal(t, "scheduled renewal", w.s.Deadline(), exact.Truncate(tick))
		w.issue(CauseRenew)
		equal(t, "repeated push", w.s.Deadline(), w.now.Mono+w.policy.AckTimeout)
		w.ack(2)
		w.s.RenewRequested(w.now)
		check(t, w.s.Deadline() == w.s.renewAfter && w.s.renewAfter%tick != 0, "requested renewal at %s, want %s", w.s.Deadline(), w.s.renewAfter)
	}
}

// A scheduled renewal is due only when new tokens expire later than the newest ones. Otherwise the
// node would renew a session with very short tokens thousands of times within a tick.
func TestScheduledRenewalsExtendTheTokens(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 3 * time.Second, 4 * time.Second, 10 * time.Second} {
		for i := range 500 {
			w := newWorld(t, 10*time.Second)
			w.s.ID, w.s.Terms.TTL = time.Duration(i).String(), ttl
			w.pass(time.Duration(i%100) * 10 * time.Millisecond) // each round of the loop begins at another fraction of a second
			newest := w.attach().Tokens.ExpiresAt
			expiresAt := w.renew().Tokens.ExpiresAt
			require(t, expiresAt > newest, "ttl %s, session %s: new tokens expire at %d, as the newest", ttl, w.s.ID, expiresAt)
		}
	}
}

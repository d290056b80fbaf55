package session

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTermsKeepTheLifetimeInBounds(t *testing.T) {
	p := testPolicy()
	now := Instant{Wall: 1_800_000_000_000_000_000}
	for seconds, ok := range map[int64]bool{0: true, 9: false, 10: true, 29: true, 30: true, 31: true, 86400: true, 86401: false, -1: false} {
		terms, err := p.Terms(&Join{TTL: time.Duration(seconds) * time.Second, Caller: Caller{Grant: Grant{All: true}}}, now)
		check(t, (err == nil) == ok, "ttl %d: %v", seconds, err)
		var refused *Error
		if err != nil && (!errors.As(err, &refused) || refused.Code != CodeBadRequest || !strings.HasPrefix(refused.Message, "ttl: ")) {
			t.Errorf("ttl %d: %v", seconds, err)
		}
		want := time.Duration(seconds) * time.Second
		if seconds == 0 {
			want = p.TTL
		}
		if err == nil && (terms.TTL != want || terms.Until != 1_800_000_000+7*86400) {
			t.Errorf("ttl %d: %+v", seconds, terms)
		}
	}
}

func TestPolicyNamesTheSettingThatIsWrong(t *testing.T) {
	good := testPolicy()
	good.MinTTL = 3 * time.Second
	must(t, good.Check())
	for name, spoil := range map[string]func(*Policy){
		"token-ttl, min-ttl, max-ttl": func(p *Policy) { p.TTL += time.Millisecond },
		// A head start of half a second would be rounded down to 0, and tokens would be renewed
		// when they expire.
		"renew-before: want whole seconds": func(p *Policy) { p.RenewBefore = 500 * time.Millisecond },
		"min-ttl":                          func(p *Policy) { p.MinTTL = 3*time.Second - 1 },
		"max-ttl":                          func(p *Policy) { p.MaxTTL = 25 * time.Hour },
		"token-ttl":                        func(p *Policy) { p.TTL = time.Second },
		"max-session":                      func(p *Policy) { p.MaxSession = 0 },
		"renew-before":                     func(p *Policy) { p.RenewBefore = -1 },
		"ack-timeout":                      func(p *Policy) { p.AckTimeout = 0 },
		"resume-window":                    func(p *Policy) { p.ResumeWindow = -1 },
		"certificate-spread":               func(p *Policy) { p.CertificateSpread = 25 * time.Hour },
	} {
		p := testPolicy()
		spoil(&p)
		err := p.Check()
		check(t, err != nil && strings.HasPrefix(err.Error(), name) && strings.Contains(err.Error(), ": want "), "%s: %v", name, err)
	}
}

func TestJitterSpreadsSessions(t *testing.T) {
	const n = 10_000
	var buckets [10]int
	for i := range n {
		f := fraction(strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String())
		require(t, f >= 0 && f < 1, "fraction %v", f)
		buckets[int(f*10)]++
	}
	for i, got := range buckets {
		check(t, got >= n/10*8/10 && got <= n/10*12/10, "tenth %d of the spread has %d of %d sessions", i, got, n)
	}
}

// The jitter is spread over its whole range, from 0 to half the head start.
func TestJitterReachesHalfTheHeadStart(t *testing.T) {
	least, most := time.Hour, time.Duration(0)
	for i := range 1000 {
		jitter := Jitter(time.Duration(i).String(), 300*time.Second)
		least, most = min(least, jitter), max(most, jitter)
	}
	check(t, least >= 0 && least < 5*time.Second && most > 145*time.Second && most <= 150*time.Second, "from %s to %s", least, most)
}

// The times of scheduled renewals are rounded down to a multiple of tick. The times of repeated
// pushes and of requested renewals are not.
func TestScheduledRenewalsFallOnOneGrid(t *testing.T) {
	for _, ttl := range []time.Duration{10 * time.Second, time.Minute, time.Hour, MaxLifetime} {
		w := attached(t, ttl)
		w.pass(ttl/3 + 7*time.Millisecond)
		before := w.s.RenewBefore()
		exact := w.s.issued.expires - before - Jitter(w.s.ID, before)
		if due := w.s.Deadline(); due%tick != 0 || due > exact || exact-due >= tick {
			t.Errorf("ttl %s: due at %s, want %s rounded down to %s", ttl, due, exact, tick)
		}
		w.issue(CauseRenew)
		check(t, w.s.Deadline() == w.now.Mono+w.policy.AckTimeout, "ttl %s: repeated at %s, pushed at %s", ttl, w.s.Deadline(), w.now.Mono)
		w.ack(2)
		w.ask()
		if asked := w.s.Deadline(); asked != w.s.renewAfter || asked%tick == 0 {
			t.Errorf("ttl %s: the renewal that was asked for is due at %s, want %s", ttl, asked, w.s.renewAfter)
		}
	}
}

// A scheduled renewal is due only when new tokens expire later than the newest ones. Otherwise the
// node would renew a session with very short tokens thousands of times within a tick.
func TestScheduledRenewalsExtendTheTokens(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 3 * time.Second, 4 * time.Second, 10 * time.Second} {
		for i := range 500 {
			w := newWorld(t, 10*time.Second)
			w.s.ID, w.s.Terms.TTL = time.Duration(i).String(), ttl
			w.pass(time.Duration(i%100) * 10 * time.Millisecond) // a different part of a second
			w.attach()
			newest := w.s.issued.expiresAt
			w.next(Renew)
			_, expiresAt, err := w.s.NextValidity(w.now)
			must(t, err)
			require(t, expiresAt > newest, "ttl %s, session %s: renewed at %s, when new tokens expire at %d, as the newest", ttl, w.s.ID, w.now.Mono, expiresAt)
		}
	}
}

func TestJitterOnlyMakesItEarlier(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		before := time.Duration(rapid.Int64Range(1, 300).Draw(rt, "before")) * time.Second
		id := rapid.String().Draw(rt, "id")
		j := Jitter(id, before)
		if j < 0 || j > before/2 || j != Jitter(id, before) {
			rt.Fatalf("jitter %s of %s", j, before)
		}
	})
}

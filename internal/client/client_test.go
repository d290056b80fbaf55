package client

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBackoffGrowsAndIsSpread(t *testing.T) {
	for attempts, ms := range []int{500, 1000, 2000, 4000, 8000, 16000, 20000, 20000} {
		bound := time.Duration(ms) * time.Millisecond
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			d := backoff(attempts)
			low, high = min(low, d), max(high, d)
		}
		if high > bound {
			t.Errorf("attempt %d waits %s to %s, bound %s", attempts, low, high, bound)
		}
		if high-low < bound*9/10 {
			t.Errorf("attempt %d is spread over %s only, bound %s", attempts, high-low, bound)
		}
	}
	if d := backoff(1 << 30); d > maxBackoff {
		t.Errorf("after very many attempts: %s", d)
	}
}

func TestOnlyOverdueTokensAreAskedFor(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, c := range map[string]struct {
		left time.Duration // by the server's clock
		lead time.Duration
		want bool
	}{
		"fresh":                            {left: 30 * time.Second, want: false},
		"just before the server's time":    {left: 15 * time.Second, want: false},
		"after it":                         {left: 14 * time.Second, want: true},
		"fresh, our clock an hour behind":  {left: 30 * time.Second, lead: time.Hour, want: false},
		"overdue, our clock an hour ahead": {left: 5 * time.Second, lead: -time.Hour, want: true},
		"run out while nobody was looking": {left: -5 * time.Second, want: true},
	} {
		k := Client{expiresAt: session.SecOf(now).Add(c.lead + c.left), renewBefore: 15 * time.Second, lead: c.lead}
		if got := k.overdue(now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestBundleExpiresWithWhateverItHolds(t *testing.T) {
	for name, tokens := range map[string]protocol.Tokens{
		"rtc":  {RTC: &protocol.Token{ExpiresAt: 5}},
		"rtm":  {RTM: &protocol.Token{ExpiresAt: 5}},
		"chat": {Chat: &protocol.Token{ExpiresAt: 5}},
	} {
		b := Bundle{TokenPrivilege: protocol.TokenPrivilege{Tokens: tokens}}
		if b.ExpiresAt() != 5 {
			t.Errorf("%s: %d", name, b.ExpiresAt())
		}
	}
	if b := (Bundle{}); b.ExpiresAt() != 0 {
		t.Errorf("nothing: %d", b.ExpiresAt())
	}
}

package credential

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

// Verify returns the caller that was passed to Grant, and refuses a credential for another project.
func TestGrantRoundTrip(t *testing.T) {
	s := newStand(t, Config{Projects: []Project{
		{App: appA, Keys: Keys{Secrets: []string{secretB, secretA}}, Audience: "calls", Issuer: "login"},
		{App: appB, Keys: Keys{Secrets: []string{secretB}}},
	}})
	format := session.Format006
	for _, want := range []session.Caller{
		{App: appA},
		{App: appA, Subject: "ana \"\x01\u2028", Admin: true, Grant: session.Grant{
			Channels: []string{"daily-*"}, UIDs: []string{"*", "0", "10*"}, Accounts: []string{"ana"}, Roles: []session.Role{session.Publisher, session.Subscriber},
			RTMUsers: []string{"bob", "eve"}, Chat: []string{"*"}, MaxTTL: time.Minute, Until: session.MaxUnix, Format: &format,
		}},
	} {
		text, err := Grant(GrantConfig{Secret: secretA, Caller: want, Audience: "calls", Issuer: "login", TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		got := s.takes(t, text)
		if left := got.ExpiresAt - session.SecOf(time.Now()); left < 50 || left > 60 {
			t.Errorf("expires in %d s, want 60", left)
		}
		got.ExpiresAt = 0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		want.App = appB
		s.refuses(t, must(Grant(GrantConfig{Secret: secretA, Caller: want})), ReasonSignature)
	}
}

func TestGrantRefuses(t *testing.T) {
	grant := func(g session.Grant) GrantConfig {
		return GrantConfig{Secret: secretA, Caller: session.Caller{Grant: g}}
	}
	if _, err := Grant(grant(session.Grant{})); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]GrantConfig{
		"has 31 bytes; want at least 32": {Secret: secretA[:31]},
		"ttl: want whole":                {Secret: secretA, TTL: time.Millisecond},
		"max-ttl: want whole":            grant(session.Grant{MaxTTL: time.Millisecond}),
		"cannot grant everything":        grant(session.Grant{All: true}),
		"rtc.uids: want a list of uids":  grant(session.Grant{UIDs: []string{"ana"}}),
		"rtm.users: want":                grant(session.Grant{RTMUsers: []string{""}}),
		"grants.until: want":             grant(session.Grant{Until: -1}),
		"sub: want a string of at most":  {Secret: secretA, Caller: session.Caller{Subject: strings.Repeat("x", 256)}},
		"too_long":                       grant(session.Grant{Channels: strings.Split(strings.Repeat("channel,", 2000), ",")}),
	} {
		text, err := Grant(c)
		if err == nil || text != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secretA[:31]) {
			t.Errorf("%s: have %q, %v", want, text, err)
		}
	}
}

package credential

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"refresher/internal/session"
)

// Verify returns the caller that was passed to Grant, and refuses a credential for another project.
func TestGrantRoundTrip(t *testing.T) {
	c := Config{Projects: []Project{
		{App: appA, Keys: Keys{Secrets: []string{secretB, secretA}}, Audience: "calls"},
		{App: appB, Keys: Keys{Secrets: []string{"a secret that signs nothing in this test"}}},
	}}
	s := newStand(t, c)
	names := rapid.SliceOfN(rapid.StringMatching(`[^\x00-\x1f\\"]{1,20}\*?`), 0, 4)
	uids := rapid.SliceOfN(rapid.StringMatching(`\*|0|[1-9][0-9]{0,8}\*?`), 0, 4)
	roles := rapid.SliceOfN(rapid.SampledFrom([]session.Role{session.Publisher, session.Subscriber}), 0, 2)
	rapid.Check(t, func(t *rapid.T) {
		want := session.Caller{
			App:     appA,
			Subject: rapid.StringN(0, 30, 255).Draw(t, "subject"),
			Admin:   rapid.Bool().Draw(t, "admin"),
			Grant: session.Grant{
				Channels: names.Draw(t, "channels"), UIDs: uids.Draw(t, "uids"), Accounts: names.Draw(t, "accounts"),
				Roles: roles.Draw(t, "roles"), RTMUsers: names.Draw(t, "rtm"), Chat: names.Draw(t, "chat"),
				MaxTTL: time.Duration(rapid.Int64Range(0, 1<<31).Draw(t, "maxTtl")) * time.Second,
				Until:  session.UnixSec(rapid.Int64Range(0, int64(session.MaxUnix)).Draw(t, "until")),
				Format: rapid.Ptr(rapid.SampledFrom([]session.Format{session.Format007, session.Format006, session.FormatSingle}), true).Draw(t, "format"),
			},
		}
		text, err := Grant(GrantConfig{Secret: secretA, Caller: want, Audience: "calls", TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Verify(context.Background(), text)
		if err != nil {
			t.Fatal(err)
		}
		if left := got.ExpiresAt - session.SecOf(time.Now()); left < 50 || left > 60 {
			t.Fatalf("expires in %d s, want 60", left)
		}
		got.ExpiresAt = 0
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		want.App = appB
		if text, err = Grant(GrantConfig{Secret: secretA, Caller: want}); err != nil {
			t.Fatal(err)
		}
		if _, err = s.Verify(context.Background(), text); err == nil {
			t.Fatal("a secret of A speaks for B")
		}
	})
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
		"all tokens":                     grant(session.Grant{All: true}),
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

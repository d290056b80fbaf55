package credential

import (
	"context"
	"slices"
	"testing"

	"refresher/internal/session"
)

// FuzzVerify checks that Verify never panics, that it accepts only credentials with a valid signature, and that the
// grants of each accepted caller are within the limits.
func FuzzVerify(f *testing.F) {
	f.Add(`{"alg":"HS256"}`, `{"exp":9999999999,"grants":{"rtc":{"uids":[1,"2*"],"roles":["publisher"]},"maxTtl":60}}`, "")
	s := newStand(f, Config{Projects: []Project{
		{App: appA, Keys: Keys{Secrets: []string{secretA}}},
		{App: appB, Keys: Keys{PublicKeyPEMs: []string{publicPEM(edKey())}}},
	}})
	single := newStand(f, one(Keys{Secrets: []string{secretA}}))
	f.Fuzz(func(t *testing.T, header, claims, raw string) {
		if _, err := s.Verify(context.Background(), raw); err == nil {
			t.Fatalf("%q was taken", raw)
		}
		_, _ = single.Verify(context.Background(), raw)
		for _, v := range []*stand{s, single} {
			c, err := v.Verify(context.Background(), signText(header, claims))
			if err != nil {
				continue
			}
			g := &c.Grant
			all := slices.Concat(g.Channels, g.UIDs, g.Accounts, g.RTMUsers, g.Chat)
			long := func(name string) bool { return name == "" || len(name) > maxName }
			wrong := func(r session.Role) bool { return r != session.Publisher && r != session.Subscriber }
			if c.App != appA || g.All || len(all)+len(g.Roles) > maxEntries || slices.ContainsFunc(all, long) ||
				slices.ContainsFunc(g.Roles, wrong) || g.MaxTTL < 0 || g.Until < 0 || len(c.Subject) > maxName {
				t.Fatalf("%+v", c)
			}
		}
	})
}

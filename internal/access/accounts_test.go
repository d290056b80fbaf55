//go:build !race

package access_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"refresher/internal/app/apptest"
)

// TestAccountsThatAreUids requests RTC tokens for a numeric user from every endpoint, once as a uid
// and once as an account. For Agora both are one user with equal tokens, so the answers must be
// equal.
func TestAccountsThatAreUids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		list := func(names ...any) []any { return append([]any{}, names...) }
		for _, c := range []struct {
			accounts, uids []any
			user           string
			granted        bool
		}{
			{list("*"), list(), "7", false},
			{list("7*"), list(), "7", false},
			{list("*", "42*"), list(8), "4294967295", false},
			{list("*"), list(7), "7", true},
			{list(), list("*"), "7", true},
			{list("7"), list(), "7", true},
			{list("7"), list(), "77", false},
		} {
			grants := usualGrants()
			rtc := grants["rtc"].(map[string]any)
			rtc["accounts"], rtc["uids"] = c.accounts, c.uids
			grants["rtm"] = map[string]any{"users": list("*")}
			w := usualWish
			w.account, w.uid, w.rtm = c.user, c.user, c.user
			asked := 0
			for i := range givers {
				giver := &givers[i]
				if !slices.Contains(giver.needs, "rtc.account") && !slices.Contains(giver.needs, "rtc.uid") {
					continue
				}
				asked++
				what := fmt.Sprintf("%s, granted accounts %v and uids %v, wished %s", giver.name, c.accounts, c.uids, c.user)
				a, tokens := ask(g, giver, &w, apptest.Pass(map[string]any{"grants": grants, "scope": nil}))
				if c.granted && len(tokens) != len(giver.tokens) || !c.granted && (a.Code != "forbidden" || len(tokens) > 0) {
					t.Errorf("%s: %d tokens, %s %s", what, len(tokens), a.Code, a.Message)
				}
			}
			if asked < 8 {
				t.Errorf("%d givers were asked", asked)
			}
		}
	})
}

//go:build !race

package access_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/rotation"
)

func TestProjectsGetTokensOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.Heartbeat = 2 * time.Hour
		})
		for _, c := range []struct{ own, other *apptest.Tenant }{{&apptest.FirstTenant, &apptest.SecondTenant}, {&apptest.SecondTenant, &apptest.FirstTenant}} {
			for _, e := range endpoints {
				if len(e.tokens) == 0 {
					continue
				}
				r := e.with(&usual)
				a, received := receive(g, r, c.own.Pass(nil))
				if len(received) != len(e.tokens) {
					t.Errorf("%s: %+v", r, a)
				}
				for _, token := range received {
					c.own.Owns(t, r.String(), token, c.other)
				}
			}

			h := c.own.Open(g, nil)
			_, joined, _, _ := h.State()
			for _, step := range []struct {
				name string
				do   func()
			}{
				{"join", func() {}},
				{"renew", func() { h.Socket.Send(`{"type":"renew"}`) }},
				{"resume", func() { h.Lose(); h.Back() }},
				{"renewal over HTTP", func() { h.OverHTTP() }},
				{"change of the role", func() {
					g.AdminWith(c.own.Pass(nil), "PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"publisher"}}`, nil)
				}},
				{"scheduled renewal", func() { time.Sleep(time.Hour) }}, // bubble
			} {
				before, _, _, _ := h.State()
				step.do()
				time.Sleep(time.Second) // bubble
				newest, _, _, _ := h.State()
				if newest.Seq == before.Seq && step.name != "join" {
					t.Errorf("no token by %s", step.name)
				}
				for _, token := range apptest.TokensOf(newest) {
					c.own.Owns(t, step.name, token, c.other)
				}
			}
			h.Leave()
		}
	})
}

// An operator sees and changes sessions, revocations and certificates of its own project only.
func TestOperatorsKeepToTheirProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.Heartbeat = time.Hour
		})
		mine, theirs := apptest.SecondTenant.Open(g, nil), apptest.FirstTenant.Open(g, nil)
		time.Sleep(time.Second) // bubble
		_, own, _, _ := mine.State()
		before, foreign, _, _ := theirs.State()
		me := apptest.SecondTenant.Pass(map[string]any{"sub": "operator"})
		var revocation struct{ ID string }
		g.Admin("POST", "/v1/revocations", `{"channel":"monthly"}`, &revocation)

		for _, query := range []string{"", "?channel=daily", "?uid=7", "?subject=ana"} {
			if ids, _ := list(g, me, query); !slices.Equal(ids, []string{own.Session}) {
				t.Errorf("%q lists %q, want %q alone", query, ids, own.Session)
			}
		}
		for _, e := range endpoints {
			p := usual
			if p.session, p.revocation = foreign.Session, revocation.ID; e.with(&p) == e.with(&usual) {
				continue
			}
			if a, none := g.Enter(e.with(&p), me), g.Enter(e.with(&usual), me); a.Status != http.StatusNotFound || a.Body != none.Body {
				t.Errorf("%s: %d %s; of what is not there: %s", e.with(&p), a.Status, a.Body, none.Body)
			}
		}
		var revocations struct{ Revocations []struct{ ID string } }
		if g.AdminWith(me, "GET", "/v1/revocations", "", &revocations); len(revocations.Revocations) != 0 {
			t.Errorf("sees revocations of another project: %+v", revocations)
		}
		var certificates rotation.Report
		g.AdminWith(me, "GET", "/v1/certificates", "", &certificates)
		if own := agora.Fingerprint(apptest.SecondTenant.Certificate).String(); len(certificates.Certificates) != 1 || certificates.Certificates[0].Fingerprint != own {
			t.Errorf("sees the certificates %+v, want %s alone", certificates.Certificates, own)
		}

		for _, body := range []string{`{"channel":"daily"}`, `{"uid":7}`, `{"subject":"ana"}`} {
			g.AdminWith(me, "POST", "/v1/revocations", body, nil)
		}
		time.Sleep(time.Second) // bubble
		if _, _, ended, closed := mine.State(); ended != "revoked" || closed != protocol.CloseEnded {
			t.Errorf("its own call: ended %q, closed with %d", ended, closed)
		}
		if after, _, ended, closed := theirs.State(); ended != "" || closed != 0 || after.Seq != before.Seq {
			t.Errorf("another project's call: ended %q, closed with %d, seq from %d to %d", ended, closed, before.Seq, after.Seq)
		}
		for _, c := range []struct {
			who  *apptest.Tenant
			want int
		}{{&apptest.SecondTenant, http.StatusForbidden}, {&apptest.FirstTenant, http.StatusOK}} {
			if a := g.Enter(apptest.Get("/rtc/daily/publisher/uid/7"), c.who.Pass(nil)); a.Status != c.want {
				t.Errorf("a token of %s for the revoked channel: %+v", c.who.App, a)
			}
		}
		theirs.Lose()
		if !theirs.Back() {
			t.Error("the other project's client cannot resume")
		}
		theirs.Leave()
		mine.Reading.Wait()
	})
}

// list returns one page of sessions, and the cursor of the next page.
func list(g *apptest.LoggedNode, credential, query string) (ids []string, cursor string) {
	g.T.Helper()
	var page struct {
		Sessions []struct{ ID string }
		Cursor   string
	}
	if r := g.AdminWith(credential, "GET", "/v1/sessions"+query, "", &page); r.StatusCode != http.StatusOK {
		return nil, ""
	}
	for _, s := range page.Sessions {
		ids = append(ids, s.ID)
	}
	return ids, page.Cursor
}

// A page of a listing may end at another project's session. The cursor must not reveal the id of that session, and
// other projects cannot use the cursor.
func TestCursorsShowNothingOfOtherProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.TwoProjects)
		var holders []*apptest.Holder
		var all, own []string
		for range 4 {
			for _, tenant := range []*apptest.Tenant{&apptest.FirstTenant, &apptest.FirstTenant, &apptest.SecondTenant} {
				h := tenant.Open(g, nil)
				_, joined, _, _ := h.State()
				holders, all = append(holders, h), append(all, joined.Session)
			}
			own = append(own, all[len(all)-1])
		}
		time.Sleep(time.Second) // bubble
		me, them := apptest.SecondTenant.Pass(map[string]any{"sub": "operator"}), apptest.FirstTenant.Pass(map[string]any{"sub": "operator"})
		seen, cursor := list(g, me, "?limit=1")
		for cursor != "" {
			raw, err := base64.RawURLEncoding.DecodeString(cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range all {
				if strings.Contains(cursor, id[:6]) || strings.Contains(string(raw), id[:6]) {
					t.Errorf("the cursor %s shows session %s", cursor, id)
				}
			}
			if ids, _ := list(g, them, "?limit=1&cursor="+cursor); ids != nil {
				t.Error("another project can use the cursor")
			}
			var ids []string
			ids, cursor = list(g, me, "?limit=1&cursor="+cursor)
			seen = append(seen, ids...)
		}
		slices.Sort(seen)
		slices.Sort(own)
		if !slices.Equal(seen, own) {
			t.Errorf("listed %q, want %q", seen, own)
		}
		for _, h := range holders {
			h.Leave()
		}
	})
}

// The time until the answer does not reveal whether another project's session exists.
func TestForeignSessionTakesAsLongAsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.TwoProjects)
		theirs := apptest.FirstTenant.Open(g, nil)
		time.Sleep(time.Second) // bubble
		_, foreign, _, _ := theirs.State()
		me := apptest.SecondTenant.Pass(map[string]any{"sub": "operator"})
		timed := func(e endpoint, session string) time.Duration {
			p := usual
			p.session = session
			began := time.Now()
			g.Enter(e.with(&p), me)
			return time.Since(began)
		}
		for _, e := range endpoints {
			if a, none := timed(e, foreign.Session), timed(e, "NOSUCHSESSION"); a != none {
				t.Errorf("%s takes %v, want %v", e.Request, a, none)
			}
		}
		theirs.Leave()
	})
}

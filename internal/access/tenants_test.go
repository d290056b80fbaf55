//go:build !race

package access_test

import (
	"net/http"
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

// Users of each project get tokens of that project from every endpoint, and after a resume and a
// renewal.
func TestProjectsGetTokensOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.Heartbeat = 2 * time.Hour
		})
		for _, c := range []struct{ own, other *apptest.Tenant }{{&apptest.FirstTenant, &apptest.SecondTenant}, {&apptest.SecondTenant, &apptest.FirstTenant}} {
			checked := 0
			for i := range givers {
				w := usualWish
				a, tokens := ask(g, &givers[i], &w, c.own.Pass(nil))
				if a.Status != http.StatusOK || len(tokens) != len(givers[i].tokens) {
					t.Errorf("%s: %+v", givers[i].name, a)
				}
				for _, token := range tokens {
					c.own.Owns(t, givers[i].name, token, c.other)
					checked++
				}
			}
			h := c.own.Open(g, nil)
			bundle := func(what string) {
				newest, _, _, _ := h.State()
				for name, token := range apptest.TokensOf(newest) {
					c.own.Owns(t, what+" "+name, token, c.other)
					checked++
				}
			}
			bundle("join")
			h.Socket.Send(`{"type":"renew"}`)
			synctest.Wait()
			bundle("renew")
			newest, joined, _, _ := h.State()
			_ = h.Socket.CloseNow()
			h.Connect(apptest.ResumeText(joined, newest.Seq))
			bundle("resume")
			if status := h.OverHTTP(); status != http.StatusOK {
				t.Errorf("renewal over HTTP: %d", status)
			}
			bundle("HTTP")
			time.Sleep(time.Second) // bubble
			_, joined, _, _ = h.State()
			if r := g.AdminWith(c.own.Pass(nil), "PATCH", "/v1/sessions/"+joined.Session, `{"rtc":{"role":"publisher"}}`, nil); r.StatusCode != http.StatusOK {
				t.Errorf("role: %d", r.StatusCode)
			}
			synctest.Wait()
			bundle("role")
			time.Sleep(time.Hour) // bubble
			bundle("schedule")
			h.Socket.Send(`{"type":"leave"}`)
			h.Reading.Wait()
			t.Logf("%d tokens of %s", checked, c.own.App)
		}
	})
}

// An operator sees and changes sessions of its own project only. At every endpoint, another project's
// sessions appear not to exist.
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

		for _, query := range []string{"", "?channel=daily", "?uid=7", "?subject=ana", "?limit=1", "?channel=daily&uid=7&subject=ana&limit=200"} {
			seen := everySession(g, me, query)
			if len(seen) != 1 || seen[0] != own.Session {
				t.Errorf("%q lists %q, want %q alone", query, seen, own.Session)
			}
		}

		var revocation struct{ ID string }
		g.Admin("POST", "/v1/revocations", `{"channel":"monthly"}`, &revocation)
		for _, e := range []apptest.Request{
			apptest.Get("/v1/sessions/" + foreign.Session),
			apptest.Ask("PATCH", "/v1/sessions/"+foreign.Session, `{"rtc":{"role":"publisher"}}`),
			apptest.Ask("PATCH", "/v1/sessions/"+foreign.Session, `{"renew":true}`),
			apptest.Ask("DELETE", "/v1/sessions/"+foreign.Session, ""),
			apptest.Get("/v1/revocations/" + revocation.ID),
			apptest.Ask("DELETE", "/v1/revocations/"+revocation.ID, ""),
		} {
			missing := strings.NewReplacer(foreign.Session, "NOSUCHSESSION", revocation.ID, "NOSUCH")
			a := g.Enter(e, me)
			e.Path = missing.Replace(e.Path)
			unknown := g.Enter(e, me)
			none := g.Enter(e, me)
			if a.Status != http.StatusNotFound || a.Body != none.Body || unknown.Body != none.Body {
				t.Errorf("%s: %d %s; of what is not there: %s", e, a.Status, a.Body, none.Body)
			}
		}
		var list struct{ Revocations []struct{ ID string } }
		if g.AdminWith(me, "GET", "/v1/revocations", "", &list); len(list.Revocations) != 0 {
			t.Errorf("sees revocations of another project: %+v", list)
		}

		// Even a broad revocation affects only its own project.
		var done struct{ Ended int }
		for _, body := range []string{`{"channel":"daily"}`, `{"uid":7}`, `{"subject":"ana"}`, `{"channel":"daily","uid":7,"subject":"ana","for":60}`} {
			g.AdminWith(me, "POST", "/v1/revocations", body, &done)
		}
		var certificates rotation.Report
		g.AdminWith(me, "GET", "/v1/certificates", "", &certificates)
		if own := agora.Fingerprint(apptest.SecondTenant.Certificate).String(); len(certificates.Certificates) != 1 || certificates.Certificates[0].Fingerprint != own {
			t.Errorf("sees the certificates %+v, want %s alone", certificates.Certificates, own)
		}
		time.Sleep(time.Second) // bubble
		if _, _, ended, closed := mine.State(); ended != "revoked" || closed != protocol.CloseEnded {
			t.Errorf("its own call: ended %q, closed with %d", ended, closed)
		}
		after, _, ended, closed := theirs.State()
		if ended != "" || closed != 0 || after.Seq != before.Seq {
			t.Errorf("another project's call: ended %q, closed with %d, seq from %d to %d", ended, closed, before.Seq, after.Seq)
		}
		for _, c := range []struct {
			who  *apptest.Tenant
			want int
		}{{&apptest.SecondTenant, http.StatusForbidden}, {&apptest.FirstTenant, http.StatusOK}} {
			e := apptest.Get("/rtc/daily/publisher/uid/7")
			if a := g.Enter(e, c.who.Pass(nil)); a.Status != c.want {
				t.Errorf("a token of %s for the revoked channel: %+v", c.who.App, a)
			}
			a := g.Join(`"rtc":{"channel":"daily","uid":8}`, c.who.Pass(nil))
			if (a.Status == http.StatusOK) != (c.want == http.StatusOK) {
				t.Errorf("a join of %s to the revoked channel: %+v", c.who.App, a)
			}
		}
		// The resume key of the other project's session stays valid.
		_ = theirs.Socket.CloseNow()
		theirs.Connect(apptest.ResumeText(foreign, after.Seq))
		if newest, _, ended, _ := theirs.State(); ended != "" || newest.Seq != after.Seq+1 {
			t.Errorf("a return: %+v, ended %q", newest, ended)
		}
		_ = theirs.Socket.CloseNow()
		theirs.Reading.Wait()
		mine.Reading.Wait()
	})
}

// everySession returns the ids of all sessions, from all pages.
func everySession(g *apptest.LoggedNode, credential, query string) (ids []string) {
	g.T.Helper()
	for cursor := ""; ; {
		path := "/v1/sessions" + query
		if cursor != "" {
			if query == "" {
				path += "?"
			}
			path += "&cursor=" + cursor
		}
		var page struct {
			Sessions []struct{ ID, App string }
			Cursor   string
		}
		g.AdminWith(credential, "GET", path, "", &page)
		for _, s := range page.Sessions {
			ids = append(ids, s.ID)
		}
		if cursor = page.Cursor; cursor == "" {
			return ids
		}
	}
}

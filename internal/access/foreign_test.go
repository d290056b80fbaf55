//go:build !race

package access_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/session"
	"refresher/internal/store"
)

// A page of a listing may end at another project's session. The cursor must not reveal its id, and
// other projects cannot use the cursor.
func TestCursorsShowNothingOfOtherProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.TwoProjects)
		var holders []*apptest.Holder
		var own, foreign []string
		for i := range 12 {
			tenant, ids := &apptest.FirstTenant, &foreign
			if i%4 == 0 {
				tenant, ids = &apptest.SecondTenant, &own
			}
			h := tenant.Open(g, nil)
			_, joined, _, _ := h.State()
			holders, *ids = append(holders, h), append(*ids, joined.Session)
		}
		time.Sleep(time.Second) // bubble
		me, them := apptest.SecondTenant.Pass(map[string]any{"sub": "operator"}), apptest.FirstTenant.Pass(map[string]any{"sub": "operator"})
		get := func(credential, query string) (int, []string, string) {
			e := apptest.Get("/v1/sessions?limit=1" + query)
			a := g.Enter(e, credential)
			var page struct {
				Sessions []struct{ ID string }
				Cursor   string
			}
			_ = json.Unmarshal([]byte(a.Body), &page)
			var ids []string
			for _, s := range page.Sessions {
				ids = append(ids, s.ID)
			}
			return a.Status, ids, page.Cursor
		}
		var seen []string
		query := ""
		for cursors := 0; ; cursors++ {
			_, ids, cursor := get(me, query)
			seen = append(seen, ids...)
			if cursor == "" {
				if cursors < len(own)-1 {
					t.Errorf("%d cursors; want one after each session but the last", cursors)
				}
				break
			}
			raw, err := base64.RawURLEncoding.DecodeString(cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range slices.Concat(foreign, own) {
				if strings.Contains(cursor, id[:6]) || strings.Contains(string(raw), id[:6]) {
					t.Errorf("the cursor %s shows session %s", cursor, id)
				}
			}
			query = "&cursor=" + cursor
			for name, c := range map[string]struct{ credential, cursor string }{
				"of another project": {them, cursor}, "altered": {me, cursor[:10] + strings.Map(func(r rune) rune { return r ^ 1 }, cursor[10:11]) + cursor[11:]}, "cut": {me, cursor[:len(cursor)/2]},
			} {
				if status, _, _ := get(c.credential, "&cursor="+c.cursor); status != http.StatusBadRequest {
					t.Errorf("a cursor %s: %d", name, status)
				}
			}
		}
		slices.Sort(seen)
		slices.Sort(own)
		if !slices.Equal(seen, own) {
			t.Errorf("listed %q, want %q", seen, own)
		}
		for _, h := range holders {
			_ = h.Socket.CloseNow()
			h.Reading.Wait()
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
		for _, e := range []apptest.Request{
			apptest.Get(""), apptest.Ask("DELETE", "", ""), apptest.Ask("PATCH", "", `{"renew":true}`), apptest.Ask("PATCH", "", `{"rtc":{"role":"publisher"}}`),
		} {
			took := make(map[string]time.Duration)
			for _, id := range []string{foreign.Session, "NOSUCHSESSION"} {
				e.Path = "/v1/sessions/" + id
				began := time.Now()
				if a := g.Enter(e, me); a.Status != http.StatusNotFound {
					t.Errorf("%s: %d %s", e, a.Status, a.Body)
				}
				took[id] = time.Since(began)
			}
			if took[foreign.Session] != took["NOSUCHSESSION"] {
				t.Errorf("%s: took %v", e.Method, took)
			}
		}
		_ = theirs.Socket.CloseNow()
		theirs.Reading.Wait()
	})
}

// If one project has added as many revocations as it may, another project can still add some.
func TestRoomForRevocationsOfEachProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory(time.Now)
		all := make([]store.Revocation, store.MaxRevocations/2)
		for i := range all {
			all[i] = store.Revocation{
				Selector: store.Selector{App: apptest.FirstTenant.App, Subject: strconv.Itoa(i)}, ID: strconv.Itoa(i),
				Until: session.SecOf(time.Now().Add(time.Hour)), Lifted: true, Version: 2,
			}
		}
		if err := memory.PutRevocations(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		network := apptest.NewNetwork()
		g := apptest.StartLoggedNode(t, func(c *app.Config) {
			c.Listen, c.OpsListen = apptest.ServiceAddress, "127.0.0.1:9090"
			apptest.TwoProjects(c)
		}, app.Outside{Listen: network.Listen, Store: memory}, network.Dial)
		g.Network = network
		for _, c := range []struct {
			who  *apptest.Tenant
			want int
		}{{&apptest.FirstTenant, http.StatusServiceUnavailable}, {&apptest.SecondTenant, http.StatusOK}} {
			var told struct{ Error string }
			operator := c.who.Pass(map[string]any{"sub": "operator"})
			r := g.AdminWith(operator, "POST", "/v1/revocations", `{"subject":"ana"}`, &told)
			if r.StatusCode != c.want {
				t.Errorf("of %s: %d %s", c.who.App, r.StatusCode, told.Error)
			}
			if c.want != http.StatusOK && (r.Header.Get("Retry-After") != "60" || !strings.Contains(told.Error, "wait until some are over")) {
				t.Errorf("of %s: Retry-After %q, %s", c.who.App, r.Header.Get("Retry-After"), told.Error)
			}
		}
	})
}

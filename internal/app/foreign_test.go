package app

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
)

// TestCursorsShowNothingOfOtherProjects: a page may end at a session of another project,
// which its cursor must not name. Nor is a cursor good for anybody but its project.
func TestCursorsShowNothingOfOtherProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, two)
		var holders []*holder
		var own, foreign []string
		for i := range 12 {
			tenant, ids := &firstTenant, &foreign
			if i%4 == 0 {
				tenant, ids = &secondTenant, &own
			}
			h := tenant.open(g, nil)
			_, joined, _, _ := h.state()
			holders, *ids = append(holders, h), append(*ids, joined.Session)
		}
		time.Sleep(time.Second) // bubble
		me, them := secondTenant.pass(map[string]any{"sub": "operator"}), firstTenant.pass(map[string]any{"sub": "operator"})
		get := func(credential, query string) (int, []string, string) {
			e := entrance{method: "GET", path: "/v1/sessions?limit=1" + query}
			a := g.enter(&e, strings.NewReplacer(), credential, nil)
			var page struct {
				Sessions []struct{ ID string }
				Cursor   string
			}
			_ = json.Unmarshal([]byte(a.body), &page)
			var ids []string
			for _, s := range page.Sessions {
				ids = append(ids, s.ID)
			}
			return a.status, ids, page.Cursor
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
			_ = h.socket.CloseNow()
			h.reading.Wait()
		}
	})
}

// TestForeignSessionTakesAsLongAsNone: the time of an answer does not tell whether another
// project's session is open.
func TestForeignSessionTakesAsLongAsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuarded(t, two)
		theirs := firstTenant.open(g, nil)
		time.Sleep(time.Second) // bubble
		_, foreign, _, _ := theirs.state()
		me := secondTenant.pass(map[string]any{"sub": "operator"})
		for _, e := range []entrance{
			{method: "GET"}, {method: "DELETE"}, {method: "PATCH", body: `{"renew":true}`}, {method: "PATCH", body: `{"rtc":{"role":"publisher"}}`},
		} {
			took := make(map[string]time.Duration)
			for _, id := range []string{foreign.Session, "NOSUCHSESSION"} {
				e.path = "/v1/sessions/" + id
				began := time.Now()
				if a := g.enter(&e, strings.NewReplacer(), me, nil); a.status != http.StatusNotFound {
					t.Errorf("%s: %d %s", &e, a.status, a.body)
				}
				took[id] = time.Since(began)
			}
			if took[foreign.Session] != took["NOSUCHSESSION"] {
				t.Errorf("%s: took %v", e.method, took)
			}
		}
		_ = theirs.socket.CloseNow()
		theirs.reading.Wait()
	})
}

// TestRoomForRevocationsOfEachProject: one project has given as many as it can; another,
// of which the node has heard nothing yet, still has room.
func TestRoomForRevocationsOfEachProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory(time.Now)
		all := make([]store.Revocation, store.MaxRevocations/2)
		for i := range all {
			all[i] = store.Revocation{
				Selector: store.Selector{App: firstTenant.app, Subject: strconv.Itoa(i)}, ID: strconv.Itoa(i),
				Until: session.SecOf(time.Now().Add(time.Hour)), Lifted: true, Version: 2,
			}
		}
		if err := memory.PutRevocations(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		network := &network{ports: make(map[string]*port)}
		g := startGuarded(t, func(c *Config) {
			c.Listen, c.OpsListen = serviceAddress, "127.0.0.1:9090"
			two(c)
		}, Outside{Listen: network.listen, Store: func(Config, *slog.Logger, prometheus.Registerer) (Store, error) {
			return memory, nil
		}}, network.dial)
		g.network = network
		for _, c := range []struct {
			who  *tenant
			want int
		}{{&firstTenant, http.StatusServiceUnavailable}, {&secondTenant, http.StatusOK}} {
			var told struct{ Error string }
			operator := c.who.pass(map[string]any{"sub": "operator"})
			r := g.adminWith(operator, "POST", "/v1/revocations", `{"subject":"ana"}`, &told)
			if r.StatusCode != c.want {
				t.Errorf("of %s: %d %s", c.who.app, r.StatusCode, told.Error)
			}
			if c.want != http.StatusOK && (r.Header.Get("Retry-After") != "60" || !strings.Contains(told.Error, "wait until some are over")) {
				t.Errorf("of %s: Retry-After %q, %s", c.who.app, r.Header.Get("Retry-After"), told.Error)
			}
		}
	})
}

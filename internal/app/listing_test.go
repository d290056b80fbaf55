package app

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/project"
	"refresher/internal/session"
	"refresher/internal/store"
)

// listed is a session as it is listed.
type listed struct {
	ID, App, Subject, State, Node string
	RTC                           *struct {
		Channel string
		UID     *uint32
		Account string
		Role    string
	}
	RTM, Chat                            *struct{ UserID string }
	TTL                                  int64
	Until                                session.UnixSec
	Seq                                  uint64
	IssuedAt, ExpiresAt                  session.UnixSec
	Confirmed                            bool
	LastAckAt, NextRenewalAt, DetachedAt session.UnixSec
}

// list reads a listing page by page, and calls between after each. It demands that
// no page has more than limit sessions.
func (s *operated) list(query url.Values, limit int, between func()) (found []listed) {
	s.t.Helper()
	query = maps.Clone(query)
	query.Set("limit", fmt.Sprint(limit))
	for node := 0; ; node++ {
		var page struct {
			Sessions []listed
			Cursor   string
		}
		s.order(node%len(s.nodes), http.MethodGet, "/v1/sessions?"+query.Encode(), "", &page)
		if len(page.Sessions) > limit || page.Sessions == nil {
			s.t.Errorf("a page of %d, limit %d", len(page.Sessions), limit)
		}
		found = append(found, page.Sessions...)
		if page.Cursor == "" {
			return found
		}
		query.Set("cursor", page.Cursor)
		if between != nil {
			between()
		}
	}
}

func TestListingFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		mallory := credentialFor(t, "mallory", false)
		ids := make(map[string]string) // name by id
		for i, c := range []struct{ name, credential, wants string }{
			{"daily 7", s.user, `"rtc":{"channel":"daily","uid":7}`},
			{"daily 8", mallory, `"rtc":{"channel":"daily","uid":8,"role":"publisher"}`},
			{"daily ben", s.user, `"rtc":{"channel":"daily","account":"ben"}`},
			{"weekly 7", mallory, `"rtc":{"channel":"weekly","uid":7}`},
			{"rtm 7", s.user, `"rtm":{"userId":"7"}`},
			{"chat ben", mallory, `"chat":{"userId":"ben"}`},
			{"wildcard", s.user, `"rtc":{"channel":"*","uid":9}`},
			{"odd", s.user, `"rtc":{"channel":"a b&c=#+%","uid":0}`},
		} {
			ids[s.join(i%3, c.credential, c.wants).session] = c.name
		}
		time.Sleep(time.Second) // bubble
		for query, want := range map[string][]string{
			"":                                    slices.Sorted(maps.Values(ids)),
			"channel=daily":                       {"daily 7", "daily 8", "daily ben"},
			"channel=dail":                        nil,
			"channel=*":                           {"wildcard"},
			"channel=a+b%26c%3D%23%2B%25":         {"odd"},
			"uid=7":                               {"daily 7", "rtm 7", "weekly 7"},
			"uid=0":                               {"odd"},
			"account=ben":                         {"chat ben", "daily ben"},
			"account=7":                           {"daily 7", "rtm 7", "weekly 7"},
			"subject=mallory":                     {"chat ben", "daily 8", "weekly 7"},
			"subject=nobody":                      nil,
			"channel=daily&uid=7":                 {"daily 7"},
			"channel=daily&account=ben":           {"daily ben"},
			"channel=weekly&subject=ana":          nil,
			"uid=7&subject=mallory":               {"weekly 7"},
			"channel=daily&uid=8&subject=mallory": {"daily 8"},
		} {
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			for _, limit := range []int{1, 2, 200} {
				var got []string
				for _, found := range s.list(values, limit, nil) {
					got = append(got, ids[found.ID])
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%q, limit %d: %q, want %q", query, limit, got, want)
				}
			}
		}
	})
}

func TestListingRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		for i := range 5 {
			s.join(i%2, s.user, fmt.Sprintf(`"rtm":{"userId":"u%d"}`, i))
		}
		time.Sleep(time.Second) // bubble
		var page struct{ Cursor string }
		s.order(0, http.MethodGet, "/v1/sessions?limit=1", "", &page)
		for query, status := range map[string]int{
			"limit=0": 400, "limit=-1": 400, "limit=201": 400, "limit=x": 400, "limit=": 400, "limit=1e2": 400, "limit=99999999999999999999": 400,
			"limit=1": 200, "limit=200": 200,
			"cursor=x": 400, "cursor=%21%21": 400, "cursor=AQ": 400, "cursor=AAAA": 400, "cursor=AQECAw": 400,
			"cursor=" + page.Cursor: 200, "cursor=" + page.Cursor + "A": 400, "cursor=" + page.Cursor[1:]: 400,
			"cursor=" + strings.Repeat("A", 4000): 400,
			"uid=x":                               400, "uid=4294967296": 400, "uid=-2147483649": 400, "uid=1&account=a": 400, "uid=": 400, "channel=": 400, "account=": 400, "subject=": 400,
			"channel=" + strings.Repeat("c", 256): 400, "subject=" + strings.Repeat("s", 256): 400, "account=" + strings.Repeat("s", 256): 400,
		} {
			if answer, text := s.ask(1, s.admin, http.MethodGet, "/v1/sessions?"+query, ""); answer.StatusCode != status {
				t.Errorf("%.60s: %d %s, want %d", query, answer.StatusCode, text, status)
			}
		}
		for credential, status := range map[string]int{s.user: 403, "": 401, s.admin + "x": 401} {
			for _, path := range []string{"/v1/sessions", "/v1/sessions/none"} {
				if answer, _ := s.ask(0, credential, http.MethodGet, path, ""); answer.StatusCode != status {
					t.Errorf("%s with another credential: %d, want %d", path, answer.StatusCode, status)
				}
			}
		}
		s.away.Store(true)
		for _, path := range []string{"/v1/sessions", "/v1/sessions/none"} {
			if answer, _ := s.ask(0, s.admin, http.MethodGet, path, ""); httpOutcome(answer) != "503, later" {
				t.Errorf("%s without the store: %d", path, answer.StatusCode)
			}
		}
	})
}

// Five hundred sessions stay, and others come and go between the pages: each that
// stays is listed once.
func TestListingWhileOthersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		const stay = 500
		times := make(map[string]int, stay)
		for i := range stay {
			times[s.join(i%3, s.user, fmt.Sprintf(`"rtc":{"channel":"c%d","uid":%d}`, i%5, i)).session] = 0
		}
		r := rand.New(rand.NewPCG(5, 6))
		var others []*line
		churn := func() {
			for range 5 {
				others = append(others, s.join(r.IntN(3), s.user, `"rtm":{"userId":"passer-by"}`))
			}
			for len(others) > 15 {
				i := r.IntN(len(others))
				_ = others[i].socket.Write(s.ctx, 1, []byte(`{"type":"leave"}`))
				others[i].await("ended")
				others = slices.Delete(others, i, i+1)
			}
			time.Sleep(300 * time.Millisecond) // bubble
		}
		churn()
		time.Sleep(time.Second) // bubble
		for _, limit := range []int{7, 50, 200} {
			clear(times)
			all := s.list(url.Values{}, limit, churn)
			passers := 0
			for _, found := range all {
				if found.RTC == nil {
					passers++
					continue
				}
				times[found.ID]++
			}
			s.once(times, stay)
			if passers == 0 {
				t.Error("nobody passed by")
			}
			t.Logf("limit %d: %d sessions listed, %d of them passers-by", limit, len(all), passers)
		}
		// A node is gone, and its sessions are listed all the same.
		s.kill(2)
		clear(times)
		s.nodes = s.nodes[:2]
		for _, found := range s.list(url.Values{"channel": {"c3"}}, 10, nil) {
			times[found.ID]++
		}
		s.once(times, stay/5)
	})
}

// once demands that so many sessions were seen, each once.
func (s *operated) once(times map[string]int, want int) {
	s.t.Helper()
	if len(times) != want {
		s.t.Errorf("%d sessions listed, want %d", len(times), want)
	}
	for id, n := range times {
		if n != 1 {
			s.t.Errorf("%s was listed %d times", id, n)
		}
	}
}

// counted counts what a listing asks of the store.
type counted struct {
	Store
	asked, looked, most *atomic.Int64
}

func (c counted) Read(ctx context.Context, ids []string) ([]store.Record, error) {
	c.asked.Add(1)
	c.looked.Add(int64(len(ids)))
	c.most.Store(max(c.most.Load(), int64(len(ids))))
	return c.Store.Read(ctx, ids)
}

// One request looks at a bounded number of sessions, however few fit.
func TestListingWorkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, looked, most atomic.Int64
		s := newOperated(t, 0, nil)
		s.wrap = func(st Store) Store { return counted{st, &asked, &looked, &most} }
		s.nodes = append(s.nodes, s.startOne(0))
		l := s.join(0, s.user, `"rtc":{"channel":"common","uid":1}`)
		time.Sleep(time.Second) // bubble
		const many = 5000
		s.copies(l.session, many)
		for _, c := range []struct {
			query                string
			pages, asked, looked int64
			listed               int
		}{
			{"channel=rare", 3, 20, 2000, 0},
			{"subject=rare&limit=1", 3, 20, 2000, 0},
			{"limit=200", 26, 1, 200, many + 1},
			{"channel=common&limit=200", 26, 20, 2000, many + 1},
		} {
			query, err := url.ParseQuery(c.query)
			if err != nil {
				t.Fatal(err)
			}
			pages, listed := int64(0), 0
			for cursor := "-"; cursor != ""; pages++ {
				asked.Store(0)
				looked.Store(0)
				var page struct {
					Sessions []listedID
					Cursor   string
				}
				s.order(0, http.MethodGet, "/v1/sessions?"+query.Encode(), "", &page)
				listed += len(page.Sessions)
				if asked.Load() > c.asked || looked.Load() > c.looked {
					t.Fatalf("%s: one request asked %d times and looked at %d", c.query, asked.Load(), looked.Load())
				}
				cursor = page.Cursor
				query.Set("cursor", cursor)
			}
			t.Logf("%s: %d pages, %d sessions", c.query, pages, listed)
			if pages > c.pages {
				t.Errorf("%s: %d pages", c.query, pages)
			}
			if listed != c.listed {
				t.Errorf("%s: %d listed, want %d", c.query, listed, c.listed)
			}
		}
		if most.Load() > 200 {
			t.Errorf("asked for %d at once", most.Load())
		}
	})
}

type listedID struct{ ID string }

// copies puts copies of a session into the store.
func (s *operated) copies(id string, n int) {
	s.t.Helper()
	record, ok, err := s.memory.Get(s.ctx, id)
	if err != nil || !ok {
		s.t.Fatalf("%s: %v, %v", id, ok, err)
	}
	for i := range n {
		r := record
		r.Session = fmt.Sprintf("COPY%06d", i)
		if _, err := s.memory.Save(s.ctx, []store.Record{r}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// What is shown of a session is so: where it is, when its client confirmed, when
// its tokens end, and when they are renewed.
func TestSessionsAreShownAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		l := s.join(1, s.user, `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"rtm":{"userId":"seven"},"ttl":600`)
		joinedAt := session.SecOf(time.Now())
		time.Sleep(2 * time.Second) // bubble
		show := func(node int) (v listed) {
			s.order(node, http.MethodGet, "/v1/sessions/"+l.session, "", &v)
			return v
		}
		for i := range s.nodes {
			v := show(i)
			if v.ID != l.session || v.App != testAppID || v.Subject != "ana" || v.State != "attached" || v.Node != s.nodes[1].app.Node() || v.TTL != 600 {
				t.Errorf("node %d shows %+v", i, v)
			}
			if v.RTC == nil || v.RTC.Channel != "daily" || *v.RTC.UID != 7 || v.RTC.Role != "publisher" || v.RTM.UserID != "seven" || v.Chat != nil {
				t.Errorf("node %d shows it for %+v, %+v", i, v.RTC, v.RTM)
			}
			if v.IssuedAt != joinedAt || v.ExpiresAt != l.ends() || !v.Confirmed || v.LastAckAt != 0 || v.Seq != l.seq.Load() ||
				v.NextRenewalAt <= joinedAt || v.NextRenewalAt >= v.ExpiresAt || v.DetachedAt != 0 || v.Until <= v.ExpiresAt {
				t.Errorf("node %d shows %+v", i, v)
			}
		}

		next := show(0).NextRenewalAt
		push := l.await("token-privilege-will-expire")
		if at := session.SecOf(push.at); at < next || at > next+1 {
			t.Errorf("renewed at %d, shown was %d", at, next)
		}
		time.Sleep(2 * time.Second) // bubble
		if v := show(2); v.LastAckAt < session.SecOf(push.at) || v.ExpiresAt != expiry(push.message) || v.Seq != push.Seq || v.NextRenewalAt <= next {
			t.Errorf("after a renewal: %+v", v)
		}

		l.hangUp()
		left := session.SecOf(time.Now())
		time.Sleep(2 * time.Second) // bubble
		if v := show(0); v.State != "detached" || v.DetachedAt != left || v.NextRenewalAt != 0 {
			t.Errorf("of one that is away, at %d: %+v", left, v)
		}
		again := s.resume(2, l)
		time.Sleep(2 * time.Second) // bubble
		if v := show(0); v.State != "attached" || v.Node != s.nodes[2].app.Node() || v.DetachedAt != 0 {
			t.Errorf("of one that is back: %+v", v)
		}
		_ = again.socket.Write(s.ctx, 1, []byte(`{"type":"leave"}`))
		again.await("ended")
		time.Sleep(2 * time.Second) // bubble
		if answer, _ := s.ask(0, s.admin, http.MethodGet, "/v1/sessions/"+l.session, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("of one that is over: %d", answer.StatusCode)
		}
	})
}

// Nothing that an operator of one project does or sees is of another.
func TestOperatorsSeeTheirOwnProjectOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs := strings.Repeat("ab", 16)
		s := newOperated(t, 2, func(_ int, c *Config) {
			c.SessionSecret = "a secret of all the projects"
			c.Projects = append(c.Projects, project.Project{AppID: theirs, Certificates: []string{nextCertificate}, Keys: credential.Keys{Secrets: []string{operatorSecret}}})
		})
		of := func(app string, admin bool) string {
			text, err := credential.Grant(credential.GrantConfig{Secret: operatorSecret, Caller: session.Caller{
				App: app, Subject: "ana", Admin: admin, Grant: session.Grant{RTMUsers: []string{"*"}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		lines := map[string]*line{}
		for _, app := range []string{testAppID, theirs} {
			lines[app] = s.join(0, of(app, false), `"rtm":{"userId":"u"}`)
		}
		time.Sleep(time.Second) // bubble
		for app, l := range lines {
			s.admin = of(app, true)
			found := s.list(url.Values{"account": {"u"}}, 10, nil)
			if len(found) != 1 || found[0].ID != l.session || found[0].App != app {
				t.Errorf("listed %+v", found)
			}
		}
		foreign := lines[testAppID] // s.admin is either's: make it the second's
		s.admin = of(theirs, true)
		for _, request := range []string{"GET", "DELETE", `PATCH {"renew":true}`} {
			method, body, _ := strings.Cut(request, " ")
			if answer, _ := s.ask(1, s.admin, method, "/v1/sessions/"+foreign.session, body); answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s of another's session: %d", method, answer.StatusCode)
			}
		}
		var given revoked
		s.order(1, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		if ended := lines[theirs].await("ended"); given.Ended != 1 || ended.Reason != "revoked" {
			t.Errorf("%+v, %+v", given, ended)
		}
		foreign.quiet()
		if got := s.try(1, of(testAppID, false), nil, "GET /rtm/u"); got != "ok" {
			t.Errorf("another project's revocation counts: %s", got)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if answer, _ := s.ask(1, of(testAppID, true), method, "/v1/revocations/"+given.ID, ""); answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s of another's revocation: %d", method, answer.StatusCode)
			}
		}
		var page struct{ Revocations []json.RawMessage }
		_, text := s.ask(1, of(testAppID, true), http.MethodGet, "/v1/revocations", "")
		if err := json.Unmarshal([]byte(text), &page); err != nil || len(page.Revocations) != 0 {
			t.Errorf("another's revocations are listed: %s", text)
		}
	})
}

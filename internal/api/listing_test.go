//go:build !race

package api_test

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
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/project"
	"refresher/internal/session"
	"refresher/internal/store"
)

// listed is a session in a listing.
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

// list reads all pages of a listing, and calls the function `between` after each page. It checks that no page has more
// than limit sessions.
func list(s *apptest.Cluster, query url.Values, limit int, between func()) (found []listed) {
	s.T.Helper()
	query = maps.Clone(query)
	query.Set("limit", fmt.Sprint(limit))
	for node := 0; ; node++ {
		var page struct {
			Sessions []listed
			Cursor   string
		}
		s.Order(node%len(s.Nodes), http.MethodGet, "/v1/sessions?"+query.Encode(), "", &page)
		if len(page.Sessions) > limit || page.Sessions == nil {
			s.T.Errorf("a page of %d, limit %d", len(page.Sessions), limit)
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
		s := apptest.NewCluster(t, 3, nil)
		mallory := apptest.CredentialFor(t, "mallory", false)
		ids := make(map[string]string) // the sessions' names, keyed by id
		for i, c := range []struct{ name, credential, wants string }{
			{"daily 7", s.User, `"rtc":{"channel":"daily","uid":7}`},
			{"daily 8", mallory, `"rtc":{"channel":"daily","uid":8,"role":"publisher"}`},
			{"daily ben", s.User, `"rtc":{"channel":"daily","account":"ben"}`},
			{"weekly 7", mallory, `"rtc":{"channel":"weekly","uid":7}`},
			{"rtm 7", s.User, `"rtm":{"userId":"7"}`},
			{"chat ben", mallory, `"chat":{"userId":"ben"}`},
			{"wildcard", s.User, `"rtc":{"channel":"*","uid":9}`},
			{"odd", s.User, `"rtc":{"channel":"a b&c=#+%","uid":0}`},
		} {
			ids[s.Join(i%3, c.credential, c.wants).Session] = c.name
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
				for _, found := range list(s, values, limit, nil) {
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
		s := apptest.NewCluster(t, 2, nil)
		for i := range 5 {
			s.Join(i%2, s.User, fmt.Sprintf(`"rtm":{"userId":"u%d"}`, i))
		}
		time.Sleep(time.Second) // bubble
		var page struct{ Cursor string }
		s.Order(0, http.MethodGet, "/v1/sessions?limit=1", "", &page)
		for query, status := range map[string]int{
			"limit=0": 400, "limit=-1": 400, "limit=201": 400, "limit=x": 400, "limit=": 400, "limit=1e2": 400, "limit=99999999999999999999": 400,
			"limit=1": 200, "limit=200": 200,
			"cursor=x": 400, "cursor=%21%21": 400, "cursor=AQ": 400, "cursor=AAAA": 400, "cursor=AQECAw": 400,
			"cursor=" + page.Cursor: 200, "cursor=" + page.Cursor + "A": 400, "cursor=" + page.Cursor[1:]: 400,
			"cursor=" + strings.Repeat("A", 4000): 400,
			"uid=x":                               400, "uid=4294967296": 400, "uid=-2147483649": 400, "uid=1&account=a": 400, "uid=": 400, "channel=": 400, "account=": 400, "subject=": 400,
			"channel=" + strings.Repeat("c", 256): 400, "subject=" + strings.Repeat("s", 256): 400, "account=" + strings.Repeat("s", 256): 400,
		} {
			if answer, text := s.Ask(1, s.Admin, http.MethodGet, "/v1/sessions?"+query, ""); answer.StatusCode != status {
				t.Errorf("%.60s: %d %s, want %d", query, answer.StatusCode, text, status)
			}
		}
		for credential, status := range map[string]int{s.User: 403, "": 401, s.Admin + "x": 401} {
			for _, path := range []string{"/v1/sessions", "/v1/sessions/none"} {
				if answer, _ := s.Ask(0, credential, http.MethodGet, path, ""); answer.StatusCode != status {
					t.Errorf("%s with another credential: %d, want %d", path, answer.StatusCode, status)
				}
			}
		}
		s.Away.Store(true)
		for _, path := range []string{"/v1/sessions", "/v1/sessions/none"} {
			if answer, _ := s.Ask(0, s.Admin, http.MethodGet, path, ""); apptest.HTTPOutcome(answer) != (apptest.Outcome{Status: http.StatusServiceUnavailable, Later: true}) {
				t.Errorf("%s without the store: %d", path, answer.StatusCode)
			}
		}
	})
}

// While other sessions open and close between the pages, each of 500 permanent sessions is listed
// exactly once.
func TestListingWhileOthersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		const stay = 500
		times := make(map[string]int, stay)
		for i := range stay {
			times[s.Join(i%3, s.User, fmt.Sprintf(`"rtc":{"channel":"c%d","uid":%d}`, i%5, i)).Session] = 0
		}
		r := rand.New(rand.NewPCG(5, 6))
		var others []*apptest.Line
		churn := func() {
			for range 5 {
				others = append(others, s.Join(r.IntN(3), s.User, `"rtm":{"userId":"passer-by"}`))
			}
			for len(others) > 15 {
				i := r.IntN(len(others))
				_ = others[i].Socket.Write(s.Ctx, 1, []byte(`{"type":"leave"}`))
				others[i].Await("ended")
				others = slices.Delete(others, i, i+1)
			}
			time.Sleep(300 * time.Millisecond) // bubble
		}
		churn()
		time.Sleep(time.Second) // bubble
		for _, limit := range []int{7, 50, 200} {
			clear(times)
			all := list(s, url.Values{}, limit, churn)
			passers := 0
			for _, found := range all {
				if found.RTC == nil {
					passers++
					continue
				}
				times[found.ID]++
			}
			once(s, times, stay)
			if passers == 0 {
				t.Error("nobody passed by")
			}
			t.Logf("limit %d: %d sessions listed, %d of them passers-by", limit, len(all), passers)
		}
		// Sessions of a node that is down are still listed.
		s.Kill(2)
		clear(times)
		s.Nodes = s.Nodes[:2]
		for _, found := range list(s, url.Values{"channel": {"c3"}}, 10, nil) {
			times[found.ID]++
		}
		once(s, times, stay/5)
	})
}

// once checks that `want` sessions were listed, each exactly once. The map `times` has, for each session id, how often
// it was listed.
func once(s *apptest.Cluster, times map[string]int, want int) {
	s.T.Helper()
	if len(times) != want {
		s.T.Errorf("%d sessions listed, want %d", len(times), want)
	}
	for id, n := range times {
		if n != 1 {
			s.T.Errorf("%s was listed %d times", id, n)
		}
	}
}

// counted counts a listing's reads from the store.
type counted struct {
	app.Store
	asked, looked, most *atomic.Int64
}

func (c counted) Read(ctx context.Context, ids []string) ([]store.Record, error) {
	c.asked.Add(1)
	c.looked.Add(int64(len(ids)))
	c.most.Store(max(c.most.Load(), int64(len(ids))))
	return c.Store.Read(ctx, ids)
}

// One request reads a limited number of sessions, even if few of them match.
func TestListingWorkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, looked, most atomic.Int64
		s := apptest.NewCluster(t, 0, nil)
		s.Wrap = func(st app.Store) app.Store { return counted{st, &asked, &looked, &most} }
		s.Nodes = append(s.Nodes, s.StartOne(0))
		l := s.Join(0, s.User, `"rtc":{"channel":"common","uid":1}`)
		time.Sleep(time.Second) // bubble
		const many = 5000
		copies(s, l.Session, many)
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
				s.Order(0, http.MethodGet, "/v1/sessions?"+query.Encode(), "", &page)
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
func copies(s *apptest.Cluster, id string, n int) {
	s.T.Helper()
	record, ok, err := s.Memory.Get(s.Ctx, id)
	if err != nil || !ok {
		s.T.Fatalf("%s: %v, %v", id, ok, err)
	}
	for i := range n {
		r := record
		r.Session = fmt.Sprintf("COPY%06d", i)
		if _, err := s.Memory.Save(s.Ctx, []store.Record{r}); err != nil {
			s.T.Fatal(err)
		}
	}
}

// A listed session has the right node, time of the last ack, expiry and next renewal.
func TestSessionsAreShownAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		l := s.Join(1, s.User, `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"rtm":{"userId":"seven"},"ttl":600`)
		joinedAt := session.SecOf(time.Now())
		time.Sleep(2 * time.Second) // bubble
		show := func(node int) (v listed) {
			s.Order(node, http.MethodGet, "/v1/sessions/"+l.Session, "", &v)
			return v
		}
		for i := range s.Nodes {
			v := show(i)
			if v.ID != l.Session || v.App != apptest.AppID || v.Subject != "ana" || v.State != "attached" || v.Node != s.Nodes[1].App.Node() || v.TTL != 600 {
				t.Errorf("node %d shows %+v", i, v)
			}
			if v.RTC == nil || v.RTC.Channel != "daily" || *v.RTC.UID != 7 || v.RTC.Role != "publisher" || v.RTM.UserID != "seven" || v.Chat != nil {
				t.Errorf("node %d shows it for %+v, %+v", i, v.RTC, v.RTM)
			}
			if v.IssuedAt != joinedAt || v.ExpiresAt != l.Ends() || !v.Confirmed || v.LastAckAt != 0 || v.Seq != l.Seq.Load() ||
				v.NextRenewalAt <= joinedAt || v.NextRenewalAt >= v.ExpiresAt || v.DetachedAt != 0 || v.Until <= v.ExpiresAt {
				t.Errorf("node %d shows %+v", i, v)
			}
		}

		next := show(0).NextRenewalAt
		push := l.Await("token-privilege-will-expire")
		if at := session.SecOf(push.At); at < next || at > next+1 {
			t.Errorf("renewed at %d, shown was %d", at, next)
		}
		time.Sleep(2 * time.Second) // bubble
		if v := show(2); v.LastAckAt < session.SecOf(push.At) || v.ExpiresAt != apptest.Expiry(push.Message) || v.Seq != push.Seq || v.NextRenewalAt <= next {
			t.Errorf("after a renewal: %+v", v)
		}

		l.HangUp()
		left := session.SecOf(time.Now())
		time.Sleep(2 * time.Second) // bubble
		if v := show(0); v.State != "detached" || v.DetachedAt != left || v.NextRenewalAt != 0 {
			t.Errorf("of one that is away, at %d: %+v", left, v)
		}
		again := s.Resume(2, l)
		time.Sleep(2 * time.Second) // bubble
		if v := show(0); v.State != "attached" || v.Node != s.Nodes[2].App.Node() || v.DetachedAt != 0 {
			t.Errorf("of one that is back: %+v", v)
		}
		_ = again.Socket.Write(s.Ctx, 1, []byte(`{"type":"leave"}`))
		again.Await("ended")
		time.Sleep(2 * time.Second) // bubble
		if answer, _ := s.Ask(0, s.Admin, http.MethodGet, "/v1/sessions/"+l.Session, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("of one that is over: %d", answer.StatusCode)
		}
	})
}

// If a session's newest tokens are unknown, their fields are left out instead of being 0.
func TestUnknownTokensAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 1, nil)
		l := s.Join(0, s.User, `"rtm":{"userId":"u"}`)
		time.Sleep(time.Second) // bubble
		record, _, err := s.Memory.Get(s.Ctx, l.Session)
		if err != nil {
			t.Fatal(err)
		}
		key := record.ResumeClaims
		key.Session = "RESTORED"
		restored := store.Record{Record: session.Record{ResumeClaims: key, State: session.Detached}, Node: record.Node, Due: record.Due}
		if _, err := s.Memory.Save(s.Ctx, []store.Record{restored}); err != nil {
			t.Fatal(err)
		}
		_, text := s.Ask(0, s.Admin, http.MethodGet, "/v1/sessions/RESTORED", "")
		var shown map[string]any
		if err := json.Unmarshal([]byte(text), &shown); err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(maps.Keys(shown))
		if want := []string{"app", "id", "node", "rtm", "state", "subject", "ttl", "until"}; !slices.Equal(got, want) {
			t.Errorf("shows %s, want only %q", text, want)
		}
	})
}

// An operator sees and changes sessions and revocations of its own project only.
func TestOperatorsSeeTheirOwnProjectOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs := strings.Repeat("ab", 16)
		s := apptest.NewCluster(t, 2, func(_ int, c *app.Config) {
			c.SessionSecret = "a secret of all the projects"
			c.Projects = append(c.Projects, project.Project{AppID: theirs, Certificates: []string{apptest.NextCertificate}, Keys: credential.Keys{Secrets: []string{apptest.OperatorSecret}}})
		})
		of := func(id string, admin bool) string {
			text, err := credential.Grant(credential.GrantConfig{Secret: apptest.OperatorSecret, Caller: session.Caller{
				App: id, Subject: "ana", Admin: admin, Grant: session.Grant{RTMUsers: []string{"*"}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		lines := map[string]*apptest.Line{}
		for _, project := range []string{apptest.AppID, theirs} {
			lines[project] = s.Join(0, of(project, false), `"rtm":{"userId":"u"}`)
		}
		time.Sleep(time.Second) // bubble
		for project, l := range lines {
			s.Admin = of(project, true)
			found := list(s, url.Values{"account": {"u"}}, 10, nil)
			if len(found) != 1 || found[0].ID != l.Session || found[0].App != project {
				t.Errorf("listed %+v", found)
			}
		}
		foreign := lines[apptest.AppID] // from here on s acts as the second project's operator
		s.Admin = of(theirs, true)
		for method, body := range map[string]string{http.MethodGet: "", http.MethodDelete: "", http.MethodPatch: `{"renew":true}`} {
			if answer, _ := s.Ask(1, s.Admin, method, "/v1/sessions/"+foreign.Session, body); answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s of another's session: %d", method, answer.StatusCode)
			}
		}
		var given apptest.Revoked
		s.Order(1, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		if ended := lines[theirs].Await("ended"); given.Ended != 1 || ended.Reason != "revoked" {
			t.Errorf("%+v, %+v", given, ended)
		}
		foreign.Quiet()
		if got := s.Try(1, of(apptest.AppID, false), nil, apptest.Get("/rtm/u")); got != apptest.OK {
			t.Errorf("another project's revocation counts: %+v", got)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if answer, _ := s.Ask(1, of(apptest.AppID, true), method, "/v1/revocations/"+given.ID, ""); answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s of another's revocation: %d", method, answer.StatusCode)
			}
		}
		var page struct{ Revocations []json.RawMessage }
		_, text := s.Ask(1, of(apptest.AppID, true), http.MethodGet, "/v1/revocations", "")
		if err := json.Unmarshal([]byte(text), &page); err != nil || len(page.Revocations) != 0 {
			t.Errorf("another's revocations are listed: %s", text)
		}
	})
}

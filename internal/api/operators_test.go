package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"refresher/internal/agora"
	"refresher/internal/rotation"
	"refresher/internal/session"
	"refresher/internal/store"
)

// claimsOf returns the claims of an open session of user "ana".
func claimsOf(id string, identity session.Identity) session.ResumeClaims {
	terms := session.Terms{TTL: time.Hour, Until: session.SecOf(time.Now().Add(time.Hour))}
	return session.ResumeClaims{Session: id, App: "app", Subject: "ana", Epoch: 1, Identity: identity, Terms: terms}
}

func TestListSessions(t *testing.T) {
	c := config(t)
	memory := store.NewMemory(time.Now)
	c.Sessions = memory
	save := func(claims session.ResumeClaims) {
		t.Helper()
		r := session.Record{ResumeClaims: claims, State: session.Attached, Seq: 1, ExpiresAt: claims.Terms.Until}
		if _, err := memory.Save(t.Context(), []store.Record{{Record: r, Node: "n", Version: 1, Due: claims.Terms.Until.Milli()}}); err != nil {
			t.Fatal(err)
		}
	}
	for id, identity := range map[string]session.Identity{
		"daily-7":   {RTC: &session.RTC{Channel: "daily", UID: 7}},
		"daily-ben": {RTC: &session.RTC{Channel: "daily", Account: "ben"}},
		"weekly-7":  {RTC: &session.RTC{Channel: "weekly", UID: 7}},
		"rtm-7":     {RTM: &session.RTM{UserID: "7"}},
		"odd":       {RTC: &session.RTC{Channel: "a b&c=#+%", UID: 0}},
	} {
		save(claimsOf(id, identity))
	}
	bens := claimsOf("bens", session.Identity{Chat: &session.Chat{UserID: "ben"}})
	bens.Subject = "ben"
	save(bens)
	foreign := claimsOf("foreign", session.Identity{RTM: &session.RTM{UserID: "7"}})
	foreign.App = "another project"
	save(foreign)

	for query, want := range map[string]string{
		"":                             "bens daily-7 daily-ben odd rtm-7 weekly-7",
		"channel=daily":                "daily-7 daily-ben",
		"channel=dail":                 "",
		"channel=a+b%26c%3D%23%2B%25":  "odd",
		"uid=7":                        "daily-7 rtm-7 weekly-7",
		"uid=0":                        "odd",
		"account=ben":                  "bens daily-ben",
		"subject=ben":                  "bens",
		"channel=daily&uid=7":          "daily-7",
		"channel=weekly&subject=ben":   "",
		"channel=daily&account=ben":    "daily-ben",
		"account=ben&subject=ana":      "daily-ben",
		"channel=dail&uid=7&subject=x": "",
	} {
		for _, limit := range []string{"1", "2", "200"} {
			var found []string
			for cursor := "first"; cursor != ""; {
				path := "GET /v1/sessions?" + query + "&limit=" + limit
				if cursor != "first" {
					path += "&cursor=" + cursor
				}
				var page struct {
					Sessions []struct{ ID string }
					Cursor   string
				}
				if err := json.Unmarshal(answer(t, c, path, "Authorization", "Bearer operator").Body.Bytes(), &page); err != nil || page.Sessions == nil {
					t.Fatalf("%s: %v, %v", path, page, err)
				}
				for _, s := range page.Sessions {
					found = append(found, s.ID)
				}
				cursor = page.Cursor
			}
			slices.Sort(found)
			if got := strings.Join(found, " "); got != want {
				t.Errorf("%q, limit %s: %q, want %q", query, limit, got, want)
			}
		}
	}
}

func TestSessionThatIsNotOpen(t *testing.T) {
	c := config(t)
	c.Sessions = store.NewMemory(time.Now)
	if w := answer(t, c, "GET /v1/sessions/none", "Authorization", "Bearer operator"); w.Code != http.StatusNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestCertificates(t *testing.T) {
	c := config(t)
	c.Certificates = func(_ context.Context, app string) (rotation.Report, error) {
		return rotation.Report{At: session.UnixSec(len(app))}, nil
	}
	if w := answer(t, c, "GET /v1/certificates", "Authorization", "Bearer operator"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"at":3`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Invalid queries are refused before the store is read. The test's store cannot be reached, so a read would give status
// 503 instead of 400.
func TestRefusedQueries(t *testing.T) {
	long := strings.Repeat("c", store.MaxName+1)
	for query, want := range map[string]string{
		"limit=0": "limit: ", "limit=-1": "limit: ", "limit=201": "limit: ", "limit=x": "limit: ", "limit=": "limit: ",
		"cursor=x": "cursor: ", "cursor=another+project.1": "cursor: ",
		"uid=x": "uid: ", "uid=4294967296": "uid: ", "uid=": "uid: ", "uid=1&account=a": "uid, account: both given",
		"channel=": "channel: ", "account=": "account: ", "subject=": "subject: ",
		"channel=" + long: "channel: ", "subject=" + long: "subject: ", "account=" + long: "account: ",
		"limit=1;uid=7": "query: not well formed", "uid=%zz": "query: not well formed", "uid=1&a=b&uid=1": `query: has \"uid\" 2 times`,
	} {
		w := answer(t, config(t), "GET /v1/sessions?"+query, "Authorization", "Bearer operator")
		if w.Code != http.StatusBadRequest || !strings.HasPrefix(w.Body.String(), `{"error":"`+want) {
			t.Errorf("%.60s: %d %s", query, w.Code, w.Body)
		}
	}
}

func TestOperatorsWithoutTheStore(t *testing.T) {
	for _, path := range []string{"/v1/sessions", "/v1/sessions/S", "/v1/certificates"} {
		w := answer(t, config(t), "GET "+path, "Authorization", "Bearer operator")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" {
			t.Errorf("%s: %d, Retry-After %q", path, w.Code, w.Header().Get("Retry-After"))
		}
		if w := answer(t, config(t), "GET "+path, "Authorization", "Bearer user"); w.Code != http.StatusForbidden {
			t.Errorf("%s as a user: %d", path, w.Code)
		}
	}
}

// If the newest tokens of a session are unknown, their fields are omitted from the JSON instead of being 0.
func TestSessionView(t *testing.T) {
	claims := session.ResumeClaims{
		Session: "S", App: "app", Subject: "ana", Terms: session.Terms{TTL: time.Minute, Until: 900},
		Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 7, Role: session.Publisher}},
	}
	const always = `"app":"app","subject":"ana"`
	const terms = `"node":"n","rtc":{"channel":"c","uid":7,"role":"publisher"},"ttl":60`
	single := claims
	single.Terms.Format = session.FormatSingle
	for want, r := range map[string]session.Record{
		`{"id":"S",` + always + `,"state":"attached",` + terms + `,"until":900,"seq":3,"issuedAt":100,"expiresAt":160,"confirmed":false,"lastAckAt":90,"nextRenewalAt":150}`: {
			ResumeClaims: claims, State: session.Attached, Seq: 3, HeldSeq: 2, IssuedAt: 100, ExpiresAt: 160, AckedAt: 90,
		},
		`{"id":"S",` + always + `,"state":"detached",` + terms + `,"tokenFormat":"007-single","until":900,"seq":3,"issuedAt":100,"expiresAt":160,"confirmed":true,"detachedAt":120}`: {
			ResumeClaims: single, State: session.Detached, Seq: 3, HeldSeq: 3, IssuedAt: 100, ExpiresAt: 160, DetachedAt: 120_000,
		},
		`{"id":"S",` + always + `,"state":"detached",` + terms + `,"until":900}`: {ResumeClaims: claims, State: session.Detached},
	} {
		got, err := json.Marshal(viewOf(&store.Record{Record: r, Node: "n", Due: 150_000}))
		if err != nil || string(got) != want {
			t.Errorf("%s, %v; want\n%s", got, err, want)
		}
	}
}

// wishes returns its result for every requested change, and stores the request.
type wishes struct {
	result store.WishResult
	got    store.Wish
}

func (f *wishes) Wish(_ context.Context, _ string, w store.Wish) (store.WishResult, error) {
	f.got = w
	return f.result, nil
}

func TestChangeSession(t *testing.T) {
	f := &wishes{result: store.WishResult{Version: 5, Stored: true, Applied: true}}
	r := &f.result.Record
	r.Node, r.State, r.ExpiresAt, r.Identity.RTC = "n", session.Attached, 160, &session.RTC{Channel: "c"}
	c := config(t)
	c.Wishes = f
	const common = `{"id":"S","applied":true,"stored":true,"node":"n",`
	for _, q := range []struct {
		request string
		wish    store.Wish
		status  int
		want    string
	}{
		{`PATCH /v1/sessions/S {"rtc":{"role":"publisher"}}`, store.Wish{Session: "S", Kind: store.WishRole, Role: session.Publisher}, 200, common + `"version":5,"role":"subscriber","pushed":true}`},
		{`PATCH /v1/sessions/S {"renew":true}`, store.Wish{Session: "S", Kind: store.WishRenew}, 200, common + `"version":5,"role":"subscriber","pushed":true}`},
		{`DELETE /v1/sessions/S`, store.Wish{Session: "S", Kind: store.WishEnd}, 200, common + `"accessEndsAt":160}`},
		{`DELETE /v1/sessions/` + strings.Repeat("x", store.MaxName+1), store.Wish{}, 404, `{"error":"no such session`},
		{`PATCH /v1/sessions/` + strings.Repeat("x", store.MaxName+1) + ` {"renew":true}`, store.Wish{}, 404, `{"error":"no such session`},
		{`PATCH /v1/sessions/S`, store.Wish{}, 400, `{"error":"body: is empty`},
		{`PATCH /v1/sessions/S {}`, store.Wish{}, 400, `{"error":"want `},
		{`PATCH /v1/sessions/S {"rtc":{"role":null}}`, store.Wish{}, 400, `{"error":"want `},
		{`PATCH /v1/sessions/S {"rtc":{"role":"admin"}}`, store.Wish{}, 400, `{"error":"rtc.role: `},
		{`PATCH /v1/sessions/S {"rtc":{"role":"subscriber"},"renew":true}`, store.Wish{}, 400, `{"error":"want `},
		{`PATCH /v1/sessions/S {"renew":false}`, store.Wish{}, 400, `{"error":"want `},
		{`PATCH /v1/sessions/S {"renew":"yes"}`, store.Wish{}, 400, `{"error":"renew: `},
	} {
		f.got = store.Wish{}
		w := answer(t, c, q.request, "Authorization", "Bearer operator")
		if w.Code != q.status || f.got != q.wish || !strings.HasPrefix(w.Body.String(), q.want) {
			t.Errorf("%s: %d %s after %+v, want %s", q.request, w.Code, w.Body, f.got, q.want)
		}
	}
}

func TestNoteOfAChange(t *testing.T) {
	attached := session.Record{State: session.Attached, ResumeClaims: session.ResumeClaims{Identity: session.Identity{RTC: &session.RTC{Role: session.Publisher}}}}
	ended := session.Record{State: session.Ended, Reason: session.EndLeft}
	for _, c := range []struct {
		kind            store.WishKind
		record          session.Record
		version         session.UnixMilli
		stored, applied bool
		want            string
	}{
		{store.WishRole, attached, 6, true, true, "a later change, of version 6,"},
		{store.WishRenew, attached, 6, true, true, ""},
		{store.WishRole, attached, 5, true, true, ""},
		{store.WishRole, attached, 5, false, true, "Redis cannot be reached"},
		{store.WishRole, attached, 5, true, false, "node n has not confirmed yet; "},
		{store.WishRole, session.Record{State: session.Detached}, 5, true, true, "the client is not connected"},
		{store.WishRenew, ended, 5, true, true, "the session has ended meanwhile"},
		{store.WishEnd, ended, 5, true, true, ""},
		{store.WishEnd, attached, 5, true, false, "the session's keys are dead; node n "},
		{store.WishEnd, ended, 5, false, true, "Redis cannot be reached"},
	} {
		result := &store.WishResult{Version: 5, Stored: c.stored, Applied: c.applied, Record: store.Record{Record: c.record, Node: "n", WishVersion: c.version}}
		got := noteOf(&store.Wish{Kind: c.kind, Role: session.Subscriber}, result)
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestInspect(t *testing.T) {
	c := config(t)
	var token string
	var use agora.Use
	c.Inspect = func(text string, u agora.Use) agora.Report {
		token, use = text, u
		return agora.Report{}
	}
	for body, want := range map[string]agora.Use{
		`{"token":"x"}`:                             {AppID: "app"},
		`{"token":"x","channel":"c","uid":7}`:       {AppID: "app", Holder: agora.Holder{Channel: "c", User: "7"}},
		`{"token":"x","account":"7","channel":"c"}`: {AppID: "app", Holder: agora.Holder{Channel: "c", User: "7"}},
		`{"token":"x","service":"rtm"}`:             {AppID: "app", Service: agora.ServiceRTM},
	} {
		w := answer(t, c, "POST /v1/tokens/inspect "+body, "Authorization", "Bearer operator")
		if w.Code != http.StatusOK || token != "x" || use != want {
			t.Errorf("%s: %d, %q for %+v", body, w.Code, token, use)
		}
	}
	for body, want := range map[string]string{
		`{"token":"x","uid":1,"account":"a"}`:              "uid, account: both given",
		`{"token":5}`:                                      "token: ",
		`{"token":"x","service":"rtd"}`:                    "service: ",
		`{"token":"` + strings.Repeat("x", maxBody) + `"}`: "body: want at most 8192 bytes",
	} {
		w := answer(t, c, "POST /v1/tokens/inspect "+body, "Authorization", "Bearer operator")
		if w.Code != http.StatusBadRequest || !strings.HasPrefix(w.Body.String(), `{"error":"`+want) {
			t.Errorf("%.40s: %d %s", body, w.Code, w.Body)
		}
	}
}

// revocations has one revocation, with the id R.
type revocations struct{}

var errNone = fmt.Errorf("no revocation: %w", store.ErrNoRevocation)

func (revocations) one() (store.Revocation, store.Progress) {
	selector := store.Selector{App: "app", Channel: "c", User: "7", Subject: "ana"}
	return store.Revocation{ID: "R", Selector: selector, Since: 100_500, Until: 200}, store.Progress{Ended: 2, AccessEndsAt: 160, WaitingFor: []string{"n"}}
}

func (f revocations) Add(_ context.Context, r store.Revocation) (store.Revocation, store.Progress, error) {
	one, progress := f.one()
	if r.Subject == "unsaved" {
		return one, progress, fmt.Errorf("not saved: %w", store.ErrUnsaved)
	}
	if left := time.Until(r.Until.Time()).Round(time.Minute); r.Selector != one.Selector || left != time.Minute {
		return one, progress, session.Errorf(session.CodeInternal, "added %+v for %s", r, left)
	}
	return one, progress, nil
}

func (f revocations) Get(_ context.Context, _, id string) (store.Revocation, store.Progress, error) {
	one, progress := f.one()
	if id != one.ID {
		return store.Revocation{}, store.Progress{}, errNone
	}
	return one, progress, nil
}

func (f revocations) Lift(_ context.Context, _, id string) (store.Revocation, error) {
	one, _, err := f.Get(context.Background(), "", id)
	return one, err
}

func (f revocations) List(_, after string) (page []store.Revocation, next string, err error) {
	one, _ := f.one()
	return []store.Revocation{one}, after + "2", nil
}

func TestRevocations(t *testing.T) {
	c := config(t)
	c.Revocations = revocations{}
	const (
		post     = "POST /v1/revocations "
		one      = `{"id":"R","channel":"c","user":"7","subject":"ana","at":100,"until":200,"classicEndsAt":86500`
		progress = one + `,"ended":2,"accessEndsAt":160,"complete":false,"waitingFor":["n"]}`
	)
	for _, r := range []struct {
		request string
		status  int
		want    string
	}{
		{post + `{"channel":"c","uid":7,"subject":"ana","for":60}`, 200, progress},
		{post + `{"subject":"unsaved"}`, 503, `{"error":"Redis cannot be reached: `},
		{post + `{}`, 400, `{"error":"nothing selected`},
		{post + `{"uid":1,"account":"a"}`, 400, `{"error":"uid, account: both given`},
		{post + `{"subject":"ana","for":0}`, 400, `{"error":"for: want 1 to 31536000 seconds`},
		{post + `{"subject":"ana","for":31536001}`, 400, `{"error":"for: want 1 to 31536000 seconds`},
		{post + `{"subject":"ana","chanel":"c"}`, 400, `{"error":"\"chanel\": there is no such field`},
		{post + `{"subject":"ana","subject":"ben"}`, 400, `{"error":"\"subject\": given twice`},
		{post + `{"subject":null}`, 400, `{"error":"subject: is empty`},
		{post + `{"subject":"ana","channel":""}`, 400, `{"error":"channel: is empty`},
		{post + `[]`, 400, `{"error":"body: want a JSON object, have a JSON list`},
		{post + `null`, 400, `{"error":"body: want a JSON object`},
		{post, 400, `{"error":"body: is empty`},
		{"GET /v1/revocations/R", 200, progress},
		{"GET /v1/revocations/none", 404, `{"error":"no such revocation`},
		{"DELETE /v1/revocations/R", 200, one + "}"},
		{"DELETE /v1/revocations/none", 404, `{"error":"no such revocation`},
		{"GET /v1/revocations?cursor=1", 200, `{"revocations":[` + one + `}],"cursor":"12"}`},
	} {
		w := answer(t, c, r.request, "Authorization", "Bearer operator")
		if w.Code != r.status || !strings.HasPrefix(w.Body.String(), r.want) {
			t.Errorf("%s: %d %s, want %s", r.request, w.Code, w.Body, r.want)
		}
	}
	if w := answer(t, c, post+`{"subject":"unsaved"}`, "Authorization", "Bearer operator"); !strings.HasSuffix(w.Body.String(), `"done":`+progress+"}") {
		t.Errorf("not saved: %s", w.Body)
	}
}

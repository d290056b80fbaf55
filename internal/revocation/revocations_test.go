//go:build !race

package revocation_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/session"
	"refresher/internal/store"
)

// revocationWay is one way to revoke a call, with its expected effects.
type revocationWay struct {
	name string
	// victim is the join message of the revoked user; who is the credential's subject.
	who, victim string
	// bystander is the join message of another user, with the subject other, whose call is
	// not revoked.
	other, bystander string
	// body is the body of POST /v1/revocations.
	body string
	// refused are the requests for tokens that who is refused, allowed those that still
	// succeed.
	refused, allowed []apptest.Way
}

var revocations = []revocationWay{
	{
		name: "channel", who: "ana", victim: `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"rtm":{"userId":"7"},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"weekly","uid":7}`,
		body:    `{"channel":"daily","for":600}`,
		refused: append(apptest.Ways(apptest.Classic("daily", "7", "uid"), apptest.Classic("daily", "ben", "userAccount")), apptest.FetchRTC("daily", 7), apptest.JoinRTC("daily", 7), apptest.JoinRTC("daily", 9)),
		allowed: append(apptest.Ways(apptest.Classic("weekly", "7", "uid"), apptest.Named("7"), apptest.Classic("*", "7", "uid")), apptest.FetchRTC("weekly", 7), apptest.JoinRTC("weekly", 7), apptest.JoinRTC("*", 7)),
	},
	{
		name: "wildcard channel", who: "ana", victim: `"rtc":{"channel":"*","uid":7,"role":"publisher"},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"daily","uid":7}`,
		body:    `{"channel":"*","for":600}`,
		refused: append(apptest.Ways(apptest.Classic("*", "7", "uid")), apptest.FetchRTC("*", 7), apptest.JoinRTC("*", 7)),
		allowed: append(apptest.Ways(apptest.Classic("daily", "7", "uid"), apptest.Named("7")), apptest.FetchRTC("daily", 7), apptest.JoinRTC("daily", 7)),
	},
	{
		name: "uid", who: "ana", victim: `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"daily","uid":8}`,
		body:    `{"uid":7,"for":600}`,
		refused: append(apptest.Ways(apptest.Classic("daily", "7", "uid"), apptest.Classic("weekly", "7", "userAccount"), apptest.Named("7")), apptest.FetchRTC("x", 7), apptest.JoinRTC("daily", 7), apptest.JoinRTC("x", 7), apptest.Join(`"rtm":{"userId":"7"}`), apptest.Join(`"chat":{"userId":"7"}`)),
		allowed: append(apptest.Ways(apptest.Classic("daily", "8", "uid"), apptest.Named("8")), apptest.FetchRTC("daily", 70), apptest.JoinRTC("daily", 77)),
	},
	{
		name: "account", who: "ana", victim: `"rtc":{"channel":"daily","account":"ben","role":"publisher"},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"daily","account":"benny"}`,
		body:    `{"account":"ben","for":600}`,
		refused: append(apptest.Ways(apptest.Classic("daily", "ben", "userAccount"), apptest.Named("ben")), apptest.Join(`"rtc":{"channel":"x","account":"ben"}`), apptest.Join(`"rtm":{"userId":"ben"}`)),
		allowed: append(apptest.Ways(apptest.Classic("daily", "benny", "userAccount"), apptest.Named("be")), apptest.JoinRTC("daily", 7)),
	},
	{
		name: "uid in a channel", who: "ana", victim: `"rtc":{"channel":"daily","uid":7},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"daily","uid":8}`,
		body:    `{"channel":"daily","uid":7,"for":600}`,
		refused: append(apptest.Ways(apptest.Classic("daily", "7", "uid")), apptest.FetchRTC("daily", 7), apptest.JoinRTC("daily", 7)),
		allowed: apptest.Ways(apptest.Classic("weekly", "7", "uid"), apptest.Classic("daily", "8", "uid"), apptest.Named("7")),
	},
	{
		name: "subject", who: "mallory", victim: `"rtm":{"userId":"m"},"chat":{"userId":"m"},"ttl":600`,
		other: "ana", bystander: `"rtm":{"userId":"m"}`,
		body:    `{"subject":"mallory","for":600}`,
		refused: append(apptest.Ways(apptest.Classic("daily", "7", "uid"), apptest.Named("anybody")), apptest.FetchRTC("x", 1), apptest.JoinRTC("daily", 7), apptest.Join(`"rtm":{"userId":"m"}`)),
	},
}

// revoke ends a call on one node by a revocation on another.
func (r *revocationWay) revoke(s *apptest.Cluster, node int) (answer apptest.Revoked) {
	s.T.Helper()
	s.Order(node, http.MethodPost, "/v1/revocations", r.body, &answer)
	return answer
}

// A client that is revoked on one node is ended on another within a second, and gets no
// tokens on any node. It may join again when the revocation is lifted or over, but not
// resume the ended session.
func TestRevocationsHoldOnEveryNode(t *testing.T) {
	for _, r := range revocations {
		for _, lift := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/lifted=%v", r.name, lift), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r.hold(apptest.NewCluster(t, 3, func(_ int, c *app.Config) { c.Policy.MaxSession = time.Hour }), lift)
				})
			})
		}
	}
}

func (r *revocationWay) hold(s *apptest.Cluster, lift bool) {
	t := s.T
	who, other := apptest.CredentialFor(t, r.who, false), apptest.CredentialFor(t, r.other, false)
	victim, bystander := s.Join(1, who, r.victim), s.Join(1, other, r.bystander)
	time.Sleep(time.Second) // bubble

	began := time.Now()
	answer := r.revoke(s, 0)
	ended := victim.Await("ended")
	if ended.Reason != "revoked" || ended.AccessEndsAt != victim.Ends() || ended.AccessEndsAt <= session.SecOf(began) {
		t.Errorf("told %+v, the tokens end at %d", ended, victim.Ends())
	}
	if took := ended.At.Sub(began); took > time.Second {
		t.Errorf("told after %v", took)
	}
	if end := victim.Next(); end.CloseCode != 4410 {
		t.Errorf("closed with %d", end.CloseCode)
	}
	if answer.Ended != 1 || answer.AccessEndsAt != ended.AccessEndsAt || answer.ID == "" || !answer.Complete || len(answer.WaitingFor) != 0 {
		t.Errorf("answered %+v, the client was told %+v", answer, ended)
	}
	if answer.Until < began.Unix()+600 || answer.Until > began.Unix()+602 {
		t.Errorf("stands until %d, given at %d", answer.Until, began.Unix())
	}

	back := []apptest.Way{apptest.Resume, apptest.Renew}
	s.Refusals(100, who, victim, slices.Concat(r.refused, back))
	s.AllOK(who, r.allowed)
	bystander.Quiet()

	if lift {
		s.Order(2, http.MethodDelete, "/v1/revocations/"+answer.ID, "", &apptest.Revoked{})
		for _, way := range r.refused {
			if got := s.Try(2, who, victim, way); got != apptest.OK {
				t.Errorf("lifted here, %v: %+v", way, got)
			}
		}
		time.Sleep(3 * time.Second) // bubble
	} else {
		time.Sleep(time.Until(time.Unix(answer.Until, 0))) // bubble
	}
	s.AllOK(who, r.refused)
	if left := time.Until(answer.AccessEndsAt.Time()); lift && left < 0 {
		t.Errorf("all this took until %v after the tokens' end", -left)
	}
	for i := range s.Nodes {
		for _, way := range back {
			if got := s.Try(i, who, victim, way); !got.Revoked() {
				t.Errorf("the session that was ended, by %v on node %d: %+v", way, i, got)
			}
		}
	}
	if answer, _ := s.Ask(1, s.Admin, http.MethodGet, "/v1/revocations/"+answer.ID, ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("the revocation is still there: %d", answer.StatusCode)
	}
}

// A detached session, or one whose node is dead, is ended by a revocation too.
func TestRevocationsReachThoseWhoAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		gone, orphan := s.Join(1, s.User, `"rtm":{"userId":"gone"}`), s.Join(2, s.User, `"rtm":{"userId":"orphan"}`)
		time.Sleep(time.Second) // bubble
		gone.HangUp()
		s.Kill(2)
		var answer apptest.Revoked
		s.Order(0, http.MethodPost, "/v1/revocations", `{"account":"gone"}`, &answer)
		if answer.Ended != 1 || answer.AccessEndsAt != gone.Ends() {
			t.Errorf("a client that is away: %+v", answer)
		}
		s.Order(0, http.MethodPost, "/v1/revocations", `{"account":"orphan"}`, &answer)
		s.Nodes[2] = s.StartOne(2)
		s.Refusals(100, s.User, gone, []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"gone"}`)})
		s.Refusals(50, s.User, orphan, []apptest.Way{apptest.Resume, apptest.Renew})
	})
}

// restarts are the ways in which nodes start anew.
var restarts = map[string]func(s *apptest.Cluster){
	"each in good order": func(s *apptest.Cluster) {
		for i := range s.Nodes {
			s.Deploy(i)
		}
	},
	"each at once": func(s *apptest.Cluster) {
		for i := range s.Nodes {
			s.Replace(i)
		}
	},
	"all at once": (*apptest.Cluster).RestartAll,
}

func TestRevocationsOutliveTheNodes(t *testing.T) {
	for name, restart := range restarts {
		for _, r := range revocations {
			t.Run(name+"/"+r.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := apptest.NewCluster(t, 3, nil)
					who := apptest.CredentialFor(t, r.who, false)
					victim := s.Join(1, who, r.victim)
					time.Sleep(time.Second) // bubble
					answer := r.revoke(s, 0)
					restart(s)
					s.Refusals(100, who, victim, append(slices.Clip(r.refused), apptest.Resume, apptest.Renew))
					s.Order(2, http.MethodDelete, "/v1/revocations/"+answer.ID, "", &apptest.Revoked{})
					time.Sleep(3 * time.Second) // bubble
					restart(s)
					s.AllOK(who, r.refused) // and what was lifted stays lifted
				})
			})
		}
	}
}

// Clients that resume at the moment at which they are revoked get no tokens afterwards, and
// their sessions stay ended.
func TestRevocationsAgainstClientsThatMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		var all []*apptest.Line
		for round := range 60 {
			user := fmt.Sprintf("u%d", round)
			wants := fmt.Sprintf(`"rtm":{"userId":%q}`, user)
			l := s.Join(round%3, s.User, wants)
			all = append(all, l)
			moment := 200 * time.Millisecond
			moved := make(chan *apptest.Line)
			go func() {
				if round%2 == 0 { // of the others, chance decides who is first
					time.Sleep(time.Duration(round%10-5) * 10 * time.Millisecond) // bubble
				}
				time.Sleep(moment) // bubble
				moved <- s.Open(s.Nodes[(round+1)%3].Address, l.ResumeMessage())
			}()
			time.Sleep(moment) // bubble
			s.Order((round+2-round%4/3)%3, http.MethodPost, "/v1/revocations", fmt.Sprintf(`{"account":%q,"for":60}`, user), &apptest.Revoked{})
			again := <-moved
			time.Sleep(3 * time.Second) // bubble
			if ended := again.Await("ended"); ended.Reason != "revoked" {
				t.Errorf("round %d: %+v", round, ended)
			}
		}
		overForGood(s, all)
	})
}

// overForGood checks that sessions stay ended, also when their revocations are over.
func overForGood(s *apptest.Cluster, lines []*apptest.Line) {
	s.T.Helper()
	if open, _ := s.Memory.Len(); open != 0 {
		s.T.Errorf("%d sessions are open", open)
	}
	time.Sleep(2 * time.Minute) // bubble
	for _, l := range lines {
		for i := range s.Nodes {
			for _, way := range []apptest.Way{apptest.Resume, apptest.Renew} {
				if got := s.Try(i, s.User, l, way); !got.Revoked() {
					s.T.Errorf("after the revocation, by %v on node %d: %+v", way, i, got)
				}
			}
		}
	}
}

// midway is a store that calls a function while it acquires a session.
type midway struct {
	app.Store
	happens *func()
}

func (m midway) Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error) {
	held, err := m.Store.Acquire(ctx, g)
	if f := *m.happens; f != nil {
		*m.happens = nil
		f()
	}
	return held, err
}

// A client is revoked after its node has checked the revocations, and before its session is
// in the table.
func TestRevocationsAgainstClientsOnTheirWayBack(t *testing.T) {
	for _, way := range []apptest.Way{apptest.Resume, apptest.Renew} {
		t.Run(fmt.Sprint(way), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var happens func()
				s := apptest.NewCluster(t, 1, nil)
				s.Wrap = func(st app.Store) app.Store { return midway{st, &happens} }
				s.Nodes = append(s.Nodes, s.StartOne(1))
				l := s.Join(0, s.User, `"rtm":{"userId":"u"}`)
				time.Sleep(time.Second) // bubble
				l.HangUp()
				happens = func() {
					s.Order(0, http.MethodPost, "/v1/revocations", `{"account":"u","for":60}`, &apptest.Revoked{})
				}
				if got := s.Try(1, s.User, l, way); !got.Revoked() {
					t.Errorf("came back: %+v", got)
				}
				if happens != nil {
					t.Fatal("the store was not asked")
				}
				time.Sleep(3 * time.Second) // bubble
				overForGood(s, []*apptest.Line{l})
			})
		})
	}
}

func TestRevocationRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 1, nil)
		for _, c := range []struct {
			credential string
			request    apptest.Request
			status     int
		}{
			{s.Admin, apptest.Post("/v1/revocations", "{}"), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"for":60}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"channel":"c","for":0}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"channel":"c","for":-1}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"channel":"c","for":31536001}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"channel":"c","for":"long"}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"uid":-1}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"uid":4294967296}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"uid":1,"account":"a"}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"channel":5}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"chanel":"c"}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"channel":"c","subjekt":"ana"}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"channel":"","uid":7}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `{"uid":7,"uid":8}`), 400},
			{s.Admin, apptest.Post("/v1/revocations", `["uid"]`), 400},
			{s.Admin, apptest.Post("/v1/revocations", "null"), 400},
			{s.Admin, apptest.Post("/v1/revocations", "["), 400},
			{s.Admin, apptest.Post("/v1/revocations", ""), 400},
			{s.Admin, apptest.Get("/v1/revocations/none"), 404},
			{s.Admin, apptest.Ask("DELETE", "/v1/revocations/none", ""), 404},
			{s.Admin, apptest.Ask("DELETE", "/v1/sessions/none", ""), 404},
			{s.User, apptest.Post("/v1/revocations", `{"channel":"c"}`), 403},
			{s.User, apptest.Get("/v1/revocations"), 403},
			{s.User, apptest.Ask("DELETE", "/v1/revocations/none", ""), 403},
			{s.User, apptest.Ask("DELETE", "/v1/sessions/none", ""), 403},
			{"", apptest.Post("/v1/revocations", `{"channel":"c"}`), 401},
			{"nonsense", apptest.Ask("DELETE", "/v1/sessions/none", ""), 401},
		} {
			if answer, text := s.Ask(0, c.credential, c.request.Method, c.request.Path, c.request.Body); answer.StatusCode != c.status {
				t.Errorf("%s: %d %s, want %d", c.request, answer.StatusCode, text, c.status)
			} else if strings.Contains(text, "selection") { // a name in the code
				t.Errorf("%s: %s", c.request, text)
			}
		}
		if all, _, err := s.Memory.Revocations(t.Context(), store.RevocationsVersion{}); err != nil || len(all) != 0 {
			t.Errorf("revocations came of it: %+v, %v", all, err)
		}
		var given apptest.Revoked
		s.Order(0, http.MethodPost, "/v1/revocations", `{"channel":"c","for":31536000}`, &given)
		if lasts := given.Until - time.Now().Unix(); lasts < 31536000 || lasts > 31536002 {
			t.Errorf("stands for %d s", lasts)
		}
		var page struct {
			Revocations []struct{ ID, Channel string }
		}
		s.Order(0, http.MethodGet, "/v1/revocations", "", &page)
		if len(page.Revocations) != 1 || page.Revocations[0].ID != given.ID || page.Revocations[0].Channel != "c" {
			t.Errorf("those that stand: %+v", page)
		}
	})
}

// The last page of revocations has no cursor for another page.
func TestRevocationsByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 1, nil)
		const page = 200
		for n := range page + 1 {
			s.Order(0, http.MethodPost, "/v1/revocations", fmt.Sprintf(`{"subject":"u%d","for":3600}`, n), &struct{}{})
			var list struct {
				Revocations []struct{ ID string }
				Cursor      string
			}
			if n < page-1 {
				continue
			}
			s.Order(0, http.MethodGet, "/v1/revocations", "", &list)
			if len(list.Revocations) != page || (list.Cursor != "") != (n >= page) {
				t.Errorf("of %d: %d, cursor %q", n+1, len(list.Revocations), list.Cursor)
			}
			if list.Cursor == "" {
				continue
			}
			last := list.Revocations[page-1].ID
			list.Revocations, list.Cursor = nil, ""
			s.Order(0, http.MethodGet, "/v1/revocations?cursor="+last, "", &list)
			if len(list.Revocations) != 1 || list.Cursor != "" || list.Revocations[0].ID <= last {
				t.Errorf("the last page: %+v", list)
			}
		}
	})
}

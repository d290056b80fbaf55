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

// revocationWay is one way to revoke a user's access to a call, with the expected effects.
type revocationWay struct {
	name string
	// victim is the join message of the revoked user; the field who is the subject of that
	// user's credential.
	who, victim string
	// bystander is the join message of another user, whose call is not revoked.
	bystander string
	// body is the body of POST /v1/revocations.
	body string
	// refused lists the requests for tokens that the subject in the field who is refused;
	// allowed lists those that still succeed.
	refused, allowed []apptest.Way
}

var revocations = []revocationWay{
	{
		name: "channel", who: "ana", victim: `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"rtm":{"userId":"7"},"ttl":600`,
		bystander: `"rtc":{"channel":"weekly","uid":7}`,
		body:      `{"channel":"daily","for":600}`,
		refused:   append(apptest.Ways(apptest.Classic("daily", "7", "uid"), apptest.Classic("daily", "ben", "userAccount")), apptest.FetchRTC("daily", 7), apptest.JoinRTC("daily", 7), apptest.JoinRTC("daily", 9)),
		allowed:   append(apptest.Ways(apptest.Classic("weekly", "7", "uid"), apptest.Named("7"), apptest.Classic("*", "7", "uid")), apptest.FetchRTC("weekly", 7), apptest.JoinRTC("weekly", 7), apptest.JoinRTC("*", 7)),
	},
	{
		name: "wildcard channel", who: "ana", victim: `"rtc":{"channel":"*","uid":7,"role":"publisher"},"ttl":600`,
		bystander: `"rtc":{"channel":"daily","uid":7}`,
		body:      `{"channel":"*","for":600}`,
		refused:   append(apptest.Ways(apptest.Classic("*", "7", "uid")), apptest.FetchRTC("*", 7), apptest.JoinRTC("*", 7)),
		allowed:   append(apptest.Ways(apptest.Classic("daily", "7", "uid"), apptest.Named("7")), apptest.FetchRTC("daily", 7), apptest.JoinRTC("daily", 7)),
	},
	{
		name: "uid", who: "ana", victim: `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"ttl":600`,
		bystander: `"rtc":{"channel":"daily","uid":8}`,
		body:      `{"uid":7,"for":600}`,
		refused:   append(apptest.Ways(apptest.Classic("daily", "7", "uid"), apptest.Classic("weekly", "7", "userAccount"), apptest.Named("7")), apptest.FetchRTC("x", 7), apptest.JoinRTC("daily", 7), apptest.JoinRTC("x", 7), apptest.Join(`"rtm":{"userId":"7"}`), apptest.Join(`"chat":{"userId":"7"}`)),
		allowed:   append(apptest.Ways(apptest.Classic("daily", "8", "uid"), apptest.Named("8")), apptest.FetchRTC("daily", 70), apptest.JoinRTC("daily", 77)),
	},
	{
		name: "account", who: "ana", victim: `"rtc":{"channel":"daily","account":"ben","role":"publisher"},"ttl":600`,
		bystander: `"rtc":{"channel":"daily","account":"benny"}`,
		body:      `{"account":"ben","for":600}`,
		refused:   append(apptest.Ways(apptest.Classic("daily", "ben", "userAccount"), apptest.Named("ben")), apptest.Join(`"rtc":{"channel":"x","account":"ben"}`), apptest.Join(`"rtm":{"userId":"ben"}`)),
		allowed:   append(apptest.Ways(apptest.Classic("daily", "benny", "userAccount"), apptest.Named("be")), apptest.JoinRTC("daily", 7)),
	},
	{
		name: "uid in a channel", who: "ana", victim: `"rtc":{"channel":"daily","uid":7},"ttl":600`,
		bystander: `"rtc":{"channel":"daily","uid":8}`,
		body:      `{"channel":"daily","uid":7,"for":600}`,
		refused:   append(apptest.Ways(apptest.Classic("daily", "7", "uid")), apptest.FetchRTC("daily", 7), apptest.JoinRTC("daily", 7)),
		allowed:   apptest.Ways(apptest.Classic("weekly", "7", "uid"), apptest.Classic("daily", "8", "uid"), apptest.Named("7")),
	},
	{
		name: "subject", who: "mallory", victim: `"rtm":{"userId":"m"},"chat":{"userId":"m"},"ttl":600`,
		bystander: `"rtm":{"userId":"m"}`,
		body:      `{"subject":"mallory","for":600}`,
		refused:   append(apptest.Ways(apptest.Classic("daily", "7", "uid"), apptest.Named("anybody")), apptest.FetchRTC("x", 1), apptest.JoinRTC("daily", 7), apptest.Join(`"rtm":{"userId":"m"}`)),
	},
}

// If a client is revoked on one node, its session on another node ends within a second. The
// client gets no tokens on any node, even after a restart of all nodes and while the store
// is down. It may join again when the revocation is lifted or has ended, but cannot resume
// the ended session.
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
	who := apptest.CredentialFor(t, r.who, false)
	victim, bystander := s.Join(1, who, r.victim), s.Join(1, s.User, r.bystander)
	time.Sleep(time.Second) // bubble

	began := time.Now()
	answer := order(s, r.body)
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
		time.Sleep(2 * time.Second) // bubble: the end is saved
		s.RestartAll()
		s.Refusals(100, who, victim, slices.Concat(r.refused, back))
		s.Order(2, http.MethodDelete, "/v1/revocations/"+answer.ID, "", &apptest.Revoked{})
		for _, way := range r.refused {
			if got := s.Try(2, who, victim, way); got != apptest.OK {
				t.Errorf("lifted here, %v: %+v", way, got)
			}
		}
		time.Sleep(3 * time.Second) // bubble
	} else {
		s.Away.Store(true)
		time.Sleep(time.Minute) // bubble
		s.Refusals(100, who, victim, slices.Concat(r.refused, back))
		s.AllOK(who, r.allowed)
		s.Away.Store(false)
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

// A revocation also ends a session that is detached, or whose node is dead.
func TestRevocationsReachThoseWhoAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		gone, orphan := s.Join(1, s.User, `"rtm":{"userId":"gone"}`), s.Join(2, s.User, `"rtm":{"userId":"orphan"}`)
		time.Sleep(time.Second) // bubble
		gone.HangUp()
		s.Kill(2)
		answer := order(s, `{"account":"gone"}`)
		if answer.Ended != 1 || answer.AccessEndsAt != gone.Ends() {
			t.Errorf("a client that is away: %+v", answer)
		}
		order(s, `{"account":"orphan"}`)
		s.Nodes[2] = s.StartOne(2)
		s.Refusals(100, s.User, gone, []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"gone"}`)})
		s.Refusals(50, s.User, orphan, []apptest.Way{apptest.Resume, apptest.Renew})
	})
}

// Clients that resume at the moment at which they are revoked get no tokens afterwards, and
// cannot resume their sessions later.
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
				if round%2 == 0 { // in the other rounds, chance decides whether the resume or the revocation comes first
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

// overForGood checks that sessions stay ended, even when their revocations have ended.
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
				happens = func() { order(s, `{"account":"u","for":60}`) }
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

// A bad request adds no revocation. The longest revocation lasts a year.
func TestRevocationRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 1, nil)
		for _, body := range []string{
			"", "{}", "null", "[", `["uid"]`, `{"for":60}`,
			`{"channel":"c","for":0}`, `{"channel":"c","for":-1}`, `{"channel":"c","for":31536001}`, `{"channel":"c","for":"long"}`,
			`{"uid":-1}`, `{"uid":4294967296}`, `{"uid":1,"account":"a"}`, `{"uid":7,"uid":8}`,
			`{"channel":5}`, `{"chanel":"c"}`, `{"channel":"c","subjekt":"ana"}`, `{"channel":"","uid":7}`,
		} {
			answer, text := s.Ask(0, s.Admin, http.MethodPost, "/v1/revocations", body)
			if answer.StatusCode != http.StatusBadRequest || strings.Contains(text, "selection") { // "selection" is a name in the code
				t.Errorf("%s: %d %s", body, answer.StatusCode, text)
			}
		}
		if all, _, err := s.Memory.Revocations(t.Context(), store.RevocationsVersion{}); err != nil || len(all) != 0 {
			t.Errorf("revocations came of it: %+v, %v", all, err)
		}
		given := order(s, `{"channel":"c","for":31536000}`)
		if lasts := given.Until - time.Now().Unix(); lasts < 31536000 || lasts > 31536002 {
			t.Errorf("stands for %d s", lasts)
		}
		if page := listed(s, ""); len(page.Revocations) != 1 || page.Revocations[0].ID != given.ID || page.Revocations[0].Channel != "c" {
			t.Errorf("those that stand: %+v", page)
		}
	})
}

// order adds a revocation on the first node.
func order(s *apptest.Cluster, body string) (answer apptest.Revoked) {
	s.T.Helper()
	s.Order(0, http.MethodPost, "/v1/revocations", body, &answer)
	return answer
}

// page is a page of revocations.
type page struct {
	Revocations []struct{ ID, Channel string }
	Cursor      string
}

func listed(s *apptest.Cluster, query string) (p page) {
	s.T.Helper()
	s.Order(0, http.MethodGet, "/v1/revocations"+query, "", &p)
	return p
}

// The last page of revocations has no cursor for another page.
func TestRevocationsByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 1, nil)
		const size = 200
		for n := range size {
			order(s, fmt.Sprintf(`{"subject":"u%d"}`, n))
		}
		if p := listed(s, ""); len(p.Revocations) != size || p.Cursor != "" {
			t.Errorf("of %d: %d, cursor %q", size, len(p.Revocations), p.Cursor)
		}
		order(s, `{"subject":"one more"}`)
		first := listed(s, "")
		second := listed(s, "?cursor="+first.Cursor)
		if len(first.Revocations) != size || len(second.Revocations) != 1 || second.Cursor != "" || second.Revocations[0].ID <= first.Revocations[size-1].ID {
			t.Errorf("pages %+v and %+v", first, second)
		}
	})
}

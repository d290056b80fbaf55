//go:build !race

package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/app/apptest"
	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/web/demo/edge"
)

func setRole(s *apptest.Cluster, node int, session, role string) (answer changed) {
	s.T.Helper()
	s.Order(node, http.MethodPatch, "/v1/sessions/"+session, fmt.Sprintf(`{"rtc":{"role":%q}}`, role), &answer)
	return answer
}

func TestRoleIsChangedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		l := s.Open(s.Nodes[1].Address, apptest.JoinMessage(s.User, apptest.PublisherWants))
		joined := l.Joined()
		call, err := s.Edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "c", User: "7", Token: joined.Tokens.RTC.Token})
		if err != nil || !call.Publishing() {
			t.Fatalf("publishing: %v, %v", call.Publishing(), err)
		}
		time.Sleep(time.Second) // bubble
		seq := l.Seq.Load()
		for node, role := range []string{"subscriber", "publisher", "subscriber"} {
			began := time.Now()
			if answer := setRole(s, node, l.Session, role); !answer.Pushed || !answer.Applied || !answer.Stored || answer.ID != l.Session || answer.Role != role || answer.Note != "" || answer.Node != s.Nodes[1].Node.App.Node() {
				t.Errorf("answered %+v", answer)
			}
			push := l.Await("token-privilege-will-expire")
			seq++
			if push.Cause != "role" || push.Seq != seq || push.Attempt != 1 || push.At.Sub(began) > time.Second {
				t.Errorf("pushed %+v after %v, want seq %d", push, push.At.Sub(began), seq)
			}
			if err := call.Renew(push.Tokens.RTC.Token); err != nil || call.Publishing() != (role == "publisher") {
				t.Errorf("as %s: publishing is %v, %v", role, call.Publishing(), err)
			}
			time.Sleep(time.Second) // bubble
			var view struct {
				RTC       struct{ Role string }
				Confirmed bool
			}
			s.Order(2, http.MethodGet, "/v1/sessions/"+l.Session, "", &view)
			if view.RTC.Role != role || !view.Confirmed {
				t.Errorf("shown as %+v, want %s", view, role)
			}
		}
		// Later renewals keep the new role.
		if push := l.Await("token-privilege-will-expire"); push.Cause != "schedule" || publishes(t, push.Tokens.RTC.Token) {
			t.Errorf("the next renewal: %+v", push)
		}
	})
}

// The last change of a role wins, even if an earlier change was made on a node whose clock is ahead
// by the allowed clock skew.
func TestLastRoleCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		l := s.Join(1, s.User, apptest.PublisherWants)
		time.Sleep(time.Second) // bubble
		for _, role := range []session.Role{session.Subscriber, session.Publisher} {
			ahead := time.Now().Add(2 * time.Second)
			if _, err := s.Memory.Wish(t.Context(), store.Wish{Session: l.Session, Kind: store.WishRole, Role: role, At: session.MilliOf(ahead)}); err != nil {
				t.Fatal(err)
			}
			if push := l.Await("token-privilege-will-expire"); publishes(t, push.Tokens.RTC.Token) != (role == session.Publisher) {
				t.Errorf("by the other node: %+v", push)
			}
			time.Sleep(300 * time.Millisecond) // bubble
			other := session.Publisher
			if role == other {
				other = session.Subscriber
			}
			if answer := setRole(s, 0, l.Session, other.String()); !answer.Pushed || answer.Note != "" {
				t.Errorf("answered %+v", answer)
			}
			push := l.Await("token-privilege-will-expire")
			if push.Cause != "role" || publishes(t, push.Tokens.RTC.Token) != (other == session.Publisher) {
				t.Errorf("pushed %+v, want tokens of a %s", push, other)
			}
			time.Sleep(3 * time.Second) // bubble
		}
	})
}

// A demoted client cannot regain its role with an older resume key, on any node, even after all nodes
// were replaced. Only during an outage of the store does a new node use the role in the key, until
// the store is back.
func TestDemotionOutlivesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		l := s.Join(1, s.User, apptest.PublisherWants)
		time.Sleep(time.Second) // bubble
		setRole(s, 0, l.Session, "subscriber")
		l.Await("token-privilege-will-expire")
		time.Sleep(3 * time.Second) // bubble
		l.HangUp()
		s.Kill(1)

		s.Away.Store(true)
		again := s.Open(s.Nodes[2].Address, l.ResumeMessage())
		if joined := again.Joined(); !publishes(t, joined.Tokens.RTC.Token) {
			t.Error("its key says publisher, which is all that the node knows")
		}
		s.Away.Store(false)
		if push := again.Await("token-privilege-will-expire"); push.Cause != "role" || publishes(t, push.Tokens.RTC.Token) {
			t.Errorf("when the store is back: %+v", push)
		}
		time.Sleep(5 * time.Second) // bubble
		again.HangUp()

		s.Nodes[1] = s.StartOne(1)
		s.RestartAll()
		for i := range s.Nodes {
			_, text := s.Ask(i, again.Key, http.MethodPost, "/v1/sessions/"+l.Session+"/renew", "")
			subscribes(s, text)
			back := s.Open(s.Nodes[i].Address, again.ResumeMessage())
			if joined := back.Joined(); publishes(t, joined.Tokens.RTC.Token) {
				t.Errorf("resumed as a publisher on node %d", i)
			}
			again.Key = back.Key
			again.Seq.Store(back.Seq.Load())
		}
	})
}

// subscribes checks that the answer to a renewal has a subscriber's token.
func subscribes(s *apptest.Cluster, text string) {
	s.T.Helper()
	got := apptest.DecodeMessage(s.T, text)
	if got.Tokens.RTC == nil || publishes(s.T, got.Tokens.RTC.Token) {
		s.T.Errorf("renewed as a publisher, or not at all: %s", text)
	}
}

func end(s *apptest.Cluster, node int, session string) (answer changed) {
	s.T.Helper()
	s.Order(node, http.MethodDelete, "/v1/sessions/"+session, "", &answer)
	return answer
}

// An operator can end a session through any node. Its client gets the message ended at once, its resume keys become
// invalid on all nodes, including new ones, and its user may join again.
func TestSessionIsEnded(t *testing.T) {
	for node := range 2 {
		synctest.Test(t, func(t *testing.T) {
			s := apptest.NewCluster(t, 2, nil)
			l, bystander := s.Join(1, s.User, apptest.PublisherWants), s.Join(1, s.User, `"rtc":{"channel":"c","uid":8}`)
			time.Sleep(time.Second) // bubble
			began := time.Now()
			answer := end(s, node, l.Session)
			if answer.ID != l.Session || !answer.Applied || !answer.Stored || answer.AccessEndsAt != l.Ends() || answer.Node == "" || answer.Note != "" {
				t.Errorf("answered %+v, the tokens end at %d", answer, l.Ends())
			}
			ended := l.Await("ended")
			if ended.Reason != "revoked" || ended.AccessEndsAt != l.Ends() || ended.At.Sub(began) > time.Second {
				t.Errorf("told %+v after %v", ended, ended.At.Sub(began))
			}
			if end := l.Next(); end.CloseCode != 4410 {
				t.Errorf("closed with %d", end.CloseCode)
			}
			back := []apptest.Way{apptest.Resume, apptest.Renew}
			s.Refusals(20, s.User, l, back)
			s.RestartAll()
			s.Refusals(20, s.User, l, back)
			s.AllOK(s.User, []apptest.Way{apptest.JoinRTC("c", 7)})
			bystander.HangUp()
			if answer, text := s.Ask(0, s.Admin, http.MethodDelete, "/v1/sessions/"+l.Session, ""); answer.StatusCode != http.StatusNotFound {
				t.Errorf("ended again: %d %s", answer.StatusCode, text)
			}
		})
	}
}

// A session can be ended even if its client is disconnected or its node is down.
func TestSessionOfThoseWhoAreAwayIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		gone, orphan := s.Join(1, s.User, `"rtm":{"userId":"gone"}`), s.Join(2, s.User, `"rtm":{"userId":"orphan"}`)
		time.Sleep(time.Second) // bubble
		gone.HangUp()
		dead := s.Nodes[2].Node.App.Node()
		s.Kill(2)
		if answer := end(s, 0, gone.Session); !answer.Applied || answer.AccessEndsAt != gone.Ends() {
			t.Errorf("a client that is away: %+v", answer)
		}
		answer := end(s, 0, orphan.Session)
		if answer.Applied || !answer.Stored || answer.AccessEndsAt != orphan.Ends() || answer.Node != dead || !strings.Contains(answer.Note, "node "+dead+" has not confirmed") {
			t.Errorf("a node that is gone: %+v, its tokens end at %d", answer, orphan.Ends())
		}
		s.Nodes[2] = s.StartOne(2)
		s.Refusals(20, s.User, gone, []apptest.Way{apptest.Resume, apptest.Renew})
		s.Refusals(20, s.User, orphan, []apptest.Way{apptest.Resume, apptest.Renew})
	})
}

// During an outage of the store, a node changes its own sessions and reports that the change is not
// stored; it refuses to change sessions of other nodes.
func TestChangesWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		ana, ben := s.Join(0, s.User, apptest.PublisherWants), s.Join(0, s.User, `"rtm":{"userId":"ben"}`)
		time.Sleep(time.Second) // bubble
		s.Away.Store(true)
		time.Sleep(10 * time.Second) // bubble
		for _, request := range [][2]string{{http.MethodPatch, `{"rtc":{"role":"subscriber"}}`}, {http.MethodPatch, `{"renew":true}`}, {http.MethodDelete, ""}} {
			answer, text := s.Ask(1, s.Admin, request[0], "/v1/sessions/"+ana.Session, request[1])
			if apptest.HTTPOutcome(answer) != (apptest.Outcome{Status: http.StatusServiceUnavailable, Later: true}) || !strings.Contains(text, "nothing was changed") {
				t.Errorf("%v elsewhere: %d %s", request, answer.StatusCode, text)
			}
		}
		ana.Quiet()
		if answer := setRole(s, 0, ana.Session, "subscriber"); !answer.Applied || !answer.Pushed || answer.Stored || answer.Role != "subscriber" || answer.Note == "" {
			t.Errorf("a role: %+v", answer)
		}
		if push := ana.Await("token-privilege-will-expire"); push.Cause != "role" || publishes(t, push.Tokens.RTC.Token) {
			t.Errorf("pushed %+v", push)
		}
		if answer := end(s, 0, ben.Session); !answer.Applied || answer.Stored || answer.AccessEndsAt != ben.Ends() || answer.Note == "" {
			t.Errorf("an end: %+v", answer)
		}
		if ended := ben.Await("ended"); ended.Reason != "revoked" {
			t.Errorf("told %+v", ended)
		}
		s.Away.Store(false)
		time.Sleep(5 * time.Second) // bubble
		s.Refusals(20, s.User, ben, []apptest.Way{apptest.Resume, apptest.Renew})
		ana.HangUp()
		s.RestartAll()
		back := s.Open(s.Nodes[1].Address, ana.ResumeMessage())
		if joined := back.Joined(); publishes(t, joined.Tokens.RTC.Token) {
			t.Error("the role was lost")
		}
	})
}

// Operators can change a session right after its join, through its own node and through others.
func TestChangesRightAfterAJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		for node := range s.Nodes {
			l := s.Join(1, s.User, apptest.PublisherWants)
			if answer := setRole(s, node, l.Session, "subscriber"); !answer.Applied || !answer.Stored || !answer.Pushed {
				t.Errorf("through node %d: %+v", node, answer)
			}
			l = s.Join(1, s.User, apptest.PublisherWants)
			if answer := end(s, node, l.Session); !answer.Applied || !answer.Stored {
				t.Errorf("through node %d: %+v", node, answer)
			}
		}
	})
}

func TestChangesOfThoseWhoAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		l := s.Join(1, s.User, apptest.PublisherWants)
		l.HangUp()
		time.Sleep(time.Second) // bubble
		if answer := setRole(s, 0, l.Session, "subscriber"); answer.Pushed || answer.Note == "" {
			t.Errorf("answered %+v", answer)
		}
		back := s.Open(s.Nodes[0].Address, l.ResumeMessage())
		if joined := back.Joined(); publishes(t, joined.Tokens.RTC.Token) {
			t.Error("came back as a publisher")
		}
	})
}

func TestOperatorsRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		l := s.Join(1, s.User, `"rtm":{"userId":"u"}`)
		time.Sleep(10 * time.Minute) // bubble
		began := time.Now()
		before := l.Ends()
		var answer changed
		s.Order(0, http.MethodPatch, "/v1/sessions/"+l.Session, `{"renew":true}`, &answer)
		push := l.Await("token-privilege-will-expire")
		if !answer.Pushed || push.Cause != "renew" || push.At.Sub(began) > time.Second || apptest.Expiry(push.Message) < before+590 {
			t.Errorf("answered %+v, pushed %+v after %v", answer, push, push.At.Sub(began))
		}
		time.Sleep(time.Minute) // bubble
		s.Nodes[0].Stop()
		s.Nodes[0] = s.StartOne(0)
		time.Sleep(time.Minute) // bubble
		l.Quiet()               // each request renews the session exactly once
	})
}

func TestChangeRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		listener, err := credential.Grant(credential.GrantConfig{Secret: apptest.OperatorSecret, Caller: session.Caller{Grant: session.Grant{
			Channels: []string{"c"}, UIDs: []string{"1"}, Roles: []session.Role{session.Subscriber},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		limited := s.Join(0, listener, `"rtc":{"channel":"c","uid":1}`)
		free, texts := s.Join(1, s.User, apptest.PublisherWants), s.Join(1, s.User, `"rtm":{"userId":"u"}`)
		time.Sleep(time.Second) // bubble
		for _, c := range []struct {
			credential, session, body string
			status                    int
		}{
			{s.Admin, limited.Session, `{"rtc":{"role":"publisher"}}`, 403},
			{s.Admin, texts.Session, `{"rtc":{"role":"publisher"}}`, 400},
			{s.Admin, "none", `{"rtc":{"role":"publisher"}}`, 404},
			{s.Admin, "none", `{"renew":true}`, 404},
			{s.Admin, free.Session, `{}`, 400},
			{s.Admin, free.Session, ``, 400},
			{s.Admin, free.Session, `[`, 400},
			{s.Admin, free.Session, `{"rtc":{}}`, 400},
			{s.Admin, free.Session, `{"rtc":null}`, 400},
			{s.Admin, free.Session, `{"rtc":{"role":null}}`, 400},
			{s.Admin, free.Session, `{"rtc":{"role":"admin"}}`, 400},
			{s.Admin, free.Session, `{"rtc":{"role":1}}`, 400},
			{s.Admin, free.Session, `{"rtc":{"role":"subscriber"},"renew":true}`, 400},
			{s.Admin, free.Session, `{"rtc":{"channel":"d"}}`, 400},
			{s.Admin, free.Session, `{"renew":false}`, 400},
			{s.Admin, free.Session, `{"renew":"yes"}`, 400},
			{s.User, free.Session, `{"renew":true}`, 403},
			{free.Key, free.Session, `{"renew":true}`, 401},
			{"", free.Session, `{"renew":true}`, 401},
		} {
			for i := range s.Nodes {
				if answer, text := s.Ask(i, c.credential, http.MethodPatch, "/v1/sessions/"+c.session, c.body); answer.StatusCode != c.status {
					t.Errorf("%s of %s: %d %s, want %d", c.body, c.session, answer.StatusCode, text, c.status)
				}
			}
		}
		for _, l := range []*apptest.Line{limited, free, texts} {
			l.Quiet()
		}
		s.Away.Store(true)
		if answer, _ := s.Ask(0, s.Admin, http.MethodPatch, "/v1/sessions/"+free.Session, `{"renew":true}`); apptest.HTTPOutcome(answer) != (apptest.Outcome{Status: http.StatusServiceUnavailable, Later: true}) {
			t.Errorf("without the store: %d", answer.StatusCode)
		}
	})
}

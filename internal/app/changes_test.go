package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/agora"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
	"refresher/web/demo/edge"
)

// changed is the answer to a change of a session.
type changed struct {
	ID                      string
	Version                 session.UnixMilli
	Role                    string
	Applied, Pushed, Stored bool
	Node, Note              string
	AccessEndsAt            session.UnixSec // of an end
}

// publishes reports whether an RTC token lets its holder publish.
func publishes(t *testing.T, token string) bool {
	t.Helper()
	read, err := agora.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	return len(read.Services[0].Privileges) == 4
}

func (s *operated) setRole(node int, session, role string) (answer changed) {
	s.t.Helper()
	s.order(node, http.MethodPatch, "/v1/sessions/"+session, fmt.Sprintf(`{"rtc":{"role":%q}}`, role), &answer)
	return answer
}

const publisherWants = `"rtc":{"channel":"c","uid":7,"role":"publisher"}`

// A role is changed on whatever node the call is, and its client can do with its
// tokens at once what the role says.
func TestRoleIsChangedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		l := s.open(s.nodes[1].address, joinMessage(s.user, publisherWants))
		joined := l.joined()
		call, err := s.edge.Join(edge.JoinRequest{Leg: edge.RTC, Channel: "c", User: "7", Token: joined.Tokens.RTC.Token})
		if err != nil || !call.Publishing() {
			t.Fatalf("publishing: %v, %v", call.Publishing(), err)
		}
		time.Sleep(time.Second) // bubble
		seq := l.seq.Load()
		for node, role := range []string{"subscriber", "publisher", "subscriber"} {
			began := time.Now()
			if answer := s.setRole(node, l.session, role); !answer.Pushed || !answer.Applied || !answer.Stored || answer.ID != l.session || answer.Role != role || answer.Note != "" || answer.Node != s.nodes[1].node.app.Node() {
				t.Errorf("answered %+v", answer)
			}
			push := l.await("token-privilege-will-expire")
			seq++
			if push.Cause != "role" || push.Seq != seq || push.Attempt != 1 || push.at.Sub(began) > time.Second {
				t.Errorf("pushed %+v after %v, want seq %d", push, push.at.Sub(began), seq)
			}
			if err := call.Renew(push.Tokens.RTC.Token); err != nil || call.Publishing() != (role == "publisher") {
				t.Errorf("as %s: publishing is %v, %v", role, call.Publishing(), err)
			}
			time.Sleep(time.Second) // bubble
			var view struct {
				RTC       struct{ Role string }
				Confirmed bool
			}
			s.order(2, http.MethodGet, "/v1/sessions/"+l.session, "", &view)
			if view.RTC.Role != role || !view.Confirmed {
				t.Errorf("shown as %+v, want %s", view, role)
			}
		}
		// The renewals that follow keep it.
		if push := l.await("token-privilege-will-expire"); push.Cause != "schedule" || publishes(t, push.Tokens.RTC.Token) {
			t.Errorf("the next renewal: %+v", push)
		}
	})
}

// What an operator says last counts, though the clock of the node that took the
// change before be ahead of this one's by as much as nodes' clocks may.
func TestLastRoleCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		l := s.join(1, s.user, publisherWants)
		time.Sleep(time.Second) // bubble
		for _, role := range []session.Role{session.Subscriber, session.Publisher} {
			ahead := time.Now().Add(2 * time.Second)
			if _, err := s.memory.Wish(t.Context(), store.Wish{Session: l.session, Kind: store.WishRole, Role: role, At: session.MilliOf(ahead)}); err != nil {
				t.Fatal(err)
			}
			if push := l.await("token-privilege-will-expire"); publishes(t, push.Tokens.RTC.Token) != (role == session.Publisher) {
				t.Errorf("by the other node: %+v", push)
			}
			time.Sleep(300 * time.Millisecond) // bubble
			other := session.Publisher
			if role == other {
				other = session.Subscriber
			}
			if answer := s.setRole(0, l.session, other.String()); !answer.Pushed || answer.Note != "" {
				t.Errorf("answered %+v", answer)
			}
			push := l.await("token-privilege-will-expire")
			if push.Cause != "role" || publishes(t, push.Tokens.RTC.Token) != (other == session.Publisher) {
				t.Errorf("pushed %+v, want tokens of a %s", push, other)
			}
			time.Sleep(3 * time.Second) // bubble
		}
	})
}

// A client that was demoted cannot get the role back with the key that it was given
// before, on any node, though all nodes be new. Only while the store is away, a node that
// knows no more than the key goes by that, until the store is back.
func TestDemotionOutlivesTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		l := s.join(1, s.user, publisherWants)
		time.Sleep(time.Second) // bubble
		s.setRole(0, l.session, "subscriber")
		l.await("token-privilege-will-expire")
		time.Sleep(3 * time.Second) // bubble
		l.hangUp()
		s.kill(1)

		s.away.Store(true)
		again := s.open(s.nodes[2].address, l.resumeMessage())
		if joined := again.joined(); !publishes(t, joined.Tokens.RTC.Token) {
			t.Error("its key says publisher, which is all that the node knows")
		}
		s.away.Store(false)
		if push := again.await("token-privilege-will-expire"); push.Cause != "role" || publishes(t, push.Tokens.RTC.Token) {
			t.Errorf("when the store is back: %+v", push)
		}
		time.Sleep(5 * time.Second) // bubble
		again.hangUp()

		s.nodes[1] = s.startOne(1)
		s.restartAll()
		for i := range s.nodes {
			_, text := s.ask(i, again.key, http.MethodPost, "/v1/sessions/"+l.session+"/renew", "")
			s.subscribes(text)
			back := s.open(s.nodes[i].address, again.resumeMessage())
			if joined := back.joined(); publishes(t, joined.Tokens.RTC.Token) {
				t.Errorf("resumed as a publisher on node %d", i)
			}
			again.key = back.key
			again.seq.Store(back.seq.Load())
		}
	})
}

// subscribes demands that the answer to a renewal has a subscriber's token.
func (s *operated) subscribes(text string) {
	s.t.Helper()
	got := decodeMessage(s.t, text)
	if got.Tokens.RTC == nil || publishes(s.t, got.Tokens.RTC.Token) {
		s.t.Errorf("renewed as a publisher, or not at all: %s", text)
	}
}

func (s *operated) end(node int, session string) (answer changed) {
	s.t.Helper()
	s.order(node, http.MethodDelete, "/v1/sessions/"+session, "", &answer)
	return answer
}

// An operator ends a session through any node. Its client is told at once, and its keys
// are dead on all nodes, also new ones; its user may join again.
func TestSessionIsEnded(t *testing.T) {
	for node := range 2 {
		synctest.Test(t, func(t *testing.T) {
			s := newOperated(t, 2, nil)
			l, bystander := s.join(1, s.user, publisherWants), s.join(1, s.user, `"rtc":{"channel":"c","uid":8}`)
			time.Sleep(time.Second) // bubble
			began := time.Now()
			answer := s.end(node, l.session)
			if answer.ID != l.session || !answer.Applied || !answer.Stored || answer.AccessEndsAt != l.ends() || answer.Node == "" || answer.Note != "" {
				t.Errorf("answered %+v, the tokens end at %d", answer, l.ends())
			}
			ended := l.await("ended")
			if ended.Reason != "revoked" || ended.AccessEndsAt != l.ends() || ended.at.Sub(began) > time.Second {
				t.Errorf("told %+v after %v", ended, ended.at.Sub(began))
			}
			if end := l.next(); end.code != 4410 {
				t.Errorf("closed with %d", end.code)
			}
			back := []string{"resume", "renew"}
			s.refusals(20, s.user, l, back)
			s.restartAll()
			s.refusals(20, s.user, l, back)
			s.allOK(s.user, []string{joinRTC("c", 7)})
			bystander.hangUp()
			if answer, text := s.ask(0, s.admin, http.MethodDelete, "/v1/sessions/"+l.session, ""); answer.StatusCode != http.StatusNotFound {
				t.Errorf("ended again: %d %s", answer.StatusCode, text)
			}
		})
	}
}

// A session whose client or node is away is ended too.
func TestSessionOfThoseWhoAreAwayIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		gone, orphan := s.join(1, s.user, `"rtm":{"userId":"gone"}`), s.join(2, s.user, `"rtm":{"userId":"orphan"}`)
		time.Sleep(time.Second) // bubble
		gone.hangUp()
		dead := s.nodes[2].node.app.Node()
		s.kill(2)
		if answer := s.end(0, gone.session); !answer.Applied || answer.AccessEndsAt != gone.ends() {
			t.Errorf("a client that is away: %+v", answer)
		}
		answer := s.end(0, orphan.session)
		if answer.Applied || !answer.Stored || answer.AccessEndsAt != orphan.ends() || answer.Node != dead || !strings.Contains(answer.Note, "node "+dead+" has not confirmed") {
			t.Errorf("a node that is gone: %+v, its tokens end at %d", answer, orphan.ends())
		}
		s.nodes[2] = s.startOne(2)
		s.refusals(20, s.user, gone, []string{"resume", "renew"})
		s.refusals(20, s.user, orphan, []string{"resume", "renew"})
	})
}

// While the store is away, a node changes what it has, and says that the others do not know
// yet; what it does not have, it leaves as it is.
func TestChangesWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		ana, ben := s.join(0, s.user, publisherWants), s.join(0, s.user, `"rtm":{"userId":"ben"}`)
		time.Sleep(time.Second) // bubble
		s.away.Store(true)
		time.Sleep(10 * time.Second) // bubble
		for _, request := range [][2]string{{http.MethodPatch, `{"rtc":{"role":"subscriber"}}`}, {http.MethodPatch, `{"renew":true}`}, {http.MethodDelete, ""}} {
			answer, text := s.ask(1, s.admin, request[0], "/v1/sessions/"+ana.session, request[1])
			if httpOutcome(answer) != "503, later" || !strings.Contains(text, "nothing was changed") {
				t.Errorf("%v elsewhere: %d %s", request, answer.StatusCode, text)
			}
		}
		ana.quiet()
		if answer := s.setRole(0, ana.session, "subscriber"); !answer.Applied || !answer.Pushed || answer.Stored || answer.Role != "subscriber" || answer.Note == "" {
			t.Errorf("a role: %+v", answer)
		}
		if push := ana.await("token-privilege-will-expire"); push.Cause != "role" || publishes(t, push.Tokens.RTC.Token) {
			t.Errorf("pushed %+v", push)
		}
		if answer := s.end(0, ben.session); !answer.Applied || answer.Stored || answer.AccessEndsAt != ben.ends() || answer.Note == "" {
			t.Errorf("an end: %+v", answer)
		}
		if ended := ben.await("ended"); ended.Reason != "revoked" {
			t.Errorf("told %+v", ended)
		}
		s.away.Store(false)
		time.Sleep(5 * time.Second) // bubble
		s.refusals(20, s.user, ben, []string{"resume", "renew"})
		ana.hangUp()
		s.restartAll()
		back := s.open(s.nodes[1].address, ana.resumeMessage())
		if joined := back.joined(); publishes(t, joined.Tokens.RTC.Token) {
			t.Error("the role was lost")
		}
	})
}

// A session is there for operators at once, through its own node and through others.
func TestChangesRightAfterAJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		for node := range s.nodes {
			l := s.join(1, s.user, publisherWants)
			if answer := s.setRole(node, l.session, "subscriber"); !answer.Applied || !answer.Stored || !answer.Pushed {
				t.Errorf("through node %d: %+v", node, answer)
			}
			l = s.join(1, s.user, publisherWants)
			if answer := s.end(node, l.session); !answer.Applied || !answer.Stored {
				t.Errorf("through node %d: %+v", node, answer)
			}
		}
	})
}

func TestChangesOfThoseWhoAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		l := s.join(1, s.user, publisherWants)
		l.hangUp()
		time.Sleep(time.Second) // bubble
		if answer := s.setRole(0, l.session, "subscriber"); answer.Pushed || answer.Note == "" {
			t.Errorf("answered %+v", answer)
		}
		back := s.open(s.nodes[0].address, l.resumeMessage())
		if joined := back.joined(); publishes(t, joined.Tokens.RTC.Token) {
			t.Error("came back as a publisher")
		}
	})
}

func TestOperatorsRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		l := s.join(1, s.user, `"rtm":{"userId":"u"}`)
		time.Sleep(10 * time.Minute) // bubble
		began := time.Now()
		before := l.ends()
		var answer changed
		s.order(0, http.MethodPatch, "/v1/sessions/"+l.session, `{"renew":true}`, &answer)
		push := l.await("token-privilege-will-expire")
		if !answer.Pushed || push.Cause != "renew" || push.at.Sub(began) > time.Second || expiry(push.message) < before+590 {
			t.Errorf("answered %+v, pushed %+v after %v", answer, push, push.at.Sub(began))
		}
		time.Sleep(time.Minute) // bubble
		s.nodes[0].stop()
		s.nodes[0] = s.startOne(0)
		time.Sleep(time.Minute) // bubble
		l.quiet()               // it is renewed once for each asking
	})
}

func TestChangeRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		listener, err := credential.Grant(credential.GrantConfig{Secret: operatorSecret, Caller: session.Caller{Grant: session.Grant{
			Channels: []string{"c"}, UIDs: []string{"1"}, Roles: []session.Role{session.Subscriber},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		limited := s.join(0, listener, `"rtc":{"channel":"c","uid":1}`)
		free, texts := s.join(1, s.user, publisherWants), s.join(1, s.user, `"rtm":{"userId":"u"}`)
		time.Sleep(time.Second) // bubble
		for _, c := range []struct {
			credential, session, body string
			status                    int
		}{
			{s.admin, limited.session, `{"rtc":{"role":"publisher"}}`, 403},
			{s.admin, texts.session, `{"rtc":{"role":"publisher"}}`, 400},
			{s.admin, "none", `{"rtc":{"role":"publisher"}}`, 404},
			{s.admin, "none", `{"renew":true}`, 404},
			{s.admin, free.session, `{}`, 400},
			{s.admin, free.session, ``, 400},
			{s.admin, free.session, `[`, 400},
			{s.admin, free.session, `{"rtc":{}}`, 400},
			{s.admin, free.session, `{"rtc":null}`, 400},
			{s.admin, free.session, `{"rtc":{"role":null}}`, 400},
			{s.admin, free.session, `{"rtc":{"role":"admin"}}`, 400},
			{s.admin, free.session, `{"rtc":{"role":1}}`, 400},
			{s.admin, free.session, `{"rtc":{"role":"subscriber"},"renew":true}`, 400},
			{s.admin, free.session, `{"rtc":{"channel":"d"}}`, 400},
			{s.admin, free.session, `{"renew":false}`, 400},
			{s.admin, free.session, `{"renew":"yes"}`, 400},
			{s.user, free.session, `{"renew":true}`, 403},
			{free.key, free.session, `{"renew":true}`, 401},
			{"", free.session, `{"renew":true}`, 401},
		} {
			for i := range s.nodes {
				if answer, text := s.ask(i, c.credential, http.MethodPatch, "/v1/sessions/"+c.session, c.body); answer.StatusCode != c.status {
					t.Errorf("%s of %s: %d %s, want %d", c.body, c.session, answer.StatusCode, text, c.status)
				}
			}
		}
		for _, l := range []*line{limited, free, texts} {
			l.quiet()
		}
		s.away.Store(true)
		if answer, _ := s.ask(0, s.admin, http.MethodPatch, "/v1/sessions/"+free.session, `{"renew":true}`); httpOutcome(answer) != "503, later" {
			t.Errorf("without the store: %d", answer.StatusCode)
		}
	})
}

// The same between real nodes, by a real Redis: what it is asked for while Redis is away,
// a node writes there when it stops, at the latest.
func TestChangesOfRealNodes(t *testing.T) {
	server := redistest.Start(t)
	begin := func() *node {
		return startNode(t, func(c *Config) {
			c.Auth, c.Projects[0].Keys = "jwt", credential.Keys{Secrets: []string{operatorSecret}}
			c.RedisURL = server.URL()
		})
	}
	a, b := begin(), begin()
	admin, ana := credentialFor(t, "operator", true), credentialFor(t, "ana", false)
	change := func(n *node, method, session, body string) (answer changed, status int) {
		t.Helper()
		reply, text := n.do(method, "/v1/sessions/"+session, body, "Authorization", "Bearer "+admin)
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return answer, reply.StatusCode
	}
	join := func() (*socket, message) {
		s := b.dial()
		s.send(joinMessage(ana, publisherWants))
		return s, s.expect("joined")
	}
	s, joined := join()
	answer, status := change(a, http.MethodPatch, joined.Session, `{"rtc":{"role":"subscriber"}}`)
	push := s.expect("token-privilege-will-expire")
	if status != http.StatusOK || !answer.Applied || !answer.Pushed || !answer.Stored || answer.Role != "subscriber" || store.NodeID(answer.Node) != store.NodeID(b.app.Node()) || push.Cause != "role" || publishes(t, push.Tokens.RTC.Token) {
		t.Errorf("%d %+v, pushed %+v", status, answer, push)
	}
	answer, status = change(a, http.MethodDelete, joined.Session, "")
	if ended := s.expect("ended"); status != http.StatusOK || ended.Reason != "revoked" || !answer.Applied || answer.AccessEndsAt != push.Tokens.RTC.ExpiresAt {
		t.Errorf("%d %+v, told %+v", status, answer, ended)
	}
	s.closed(protocol.CloseEnded)

	s, joined = join()
	if _, status := change(a, http.MethodPatch, joined.Session, `{"renew":true}`); status != http.StatusOK { // so it is in Redis
		t.Errorf("renewed: %d", status)
	}
	s.expect("token-privilege-will-expire")
	server.Kill()
	if _, status := change(a, http.MethodDelete, joined.Session, ""); status != http.StatusServiceUnavailable {
		t.Errorf("elsewhere, without Redis: %d", status)
	}
	answer, status = change(b, http.MethodDelete, joined.Session, "")
	if ended := s.expect("ended"); status != http.StatusOK || !answer.Applied || answer.Stored || ended.Reason != "revoked" {
		t.Errorf("here, without Redis: %d %+v, told %+v", status, answer, ended)
	}
	server.Restart()
	b.stop()
	if reply, text := a.do(http.MethodPost, "/v1/sessions/"+joined.Session+"/renew", "", "Authorization", "Bearer "+joined.Key); reply.StatusCode != http.StatusGone || !strings.Contains(text, `"reason":"revoked"`) {
		t.Errorf("renewed: %d %s", reply.StatusCode, text)
	}
}

package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// revoked is the answer to a revocation.
type revoked struct {
	ID            string
	Ended         int
	AccessEndsAt  session.UnixSec
	At, Until     int64
	Complete      bool
	WaitingFor    []string
	Error, Code   string
	Status        int
	Done          *revoked
	ClassicEndsAt int64
}

// revocationWay is one way to revoke a call, and what that means.
type revocationWay struct {
	name string
	// victim is who joins as what; who is the subject.
	who, victim string
	// bystander is another's call, by the subject other, that goes on.
	other, bystander string
	// body is the body of POST /v1/revocations.
	body string
	// refused are the ways to tokens that are shut to who, allowed those that
	// are not.
	refused, allowed []string
}

// classic are all classic endpoints, for one user of a channel.
func classic(channel, user, kind string) []string {
	return []string{
		fmt.Sprintf("GET /rtc/%s/publisher/%s/%s", channel, kind, user),
		fmt.Sprintf("GET /rtc/%s/subscriber/%s/%s/?expiry=60", channel, kind, user),
		fmt.Sprintf("GET /rte/%s/publisher/%s/%s", channel, kind, user),
		fmt.Sprintf("GET /rte/%s/publisher/%s/%s/%s", channel, kind, user, user),
		fmt.Sprintf(`POST /getToken {"tokenType":"rtc","channel":%q,"role":"publisher","uid":%q}`, channel, user),
		fmt.Sprintf(`POST /fetch_rtc_token_string {"uid":%q,"ChannelName":%q}`, user, channel),
		fmt.Sprintf("GET /access_token?channelName=%s&uid=%s", channel, user),
		fmt.Sprintf("GET /rtcToken?channelName=%s&uid=%s", channel, user),
	}
}

// named are those that know no channel.
func named(user string) []string {
	return []string{
		"GET /rtm/" + user,
		"GET /chat/account/" + user,
		"GET /chat/user/" + user + "/token",
		"GET /rtmToken?account=" + user,
		fmt.Sprintf(`POST /fetch_rtm_token {"uid":%q}`, user),
		fmt.Sprintf(`POST /getToken {"tokenType":"rtm","uid":%q}`, user),
		fmt.Sprintf(`POST /getToken {"tokenType":"chat","uid":%q}`, user),
	}
}

func fetchRTC(channel string, uid int) string {
	return fmt.Sprintf(`POST /fetch_rtc_token {"uid":%d,"ChannelName":%q,"role":1}`, uid, channel)
}

func joinRTC(channel string, uid int) string {
	return fmt.Sprintf(`join "rtc":{"channel":%q,"uid":%d,"role":"publisher"}`, channel, uid)
}

func all(lists ...[]string) (joined []string) {
	for _, l := range lists {
		joined = append(joined, l...)
	}
	return joined
}

var revocations = []revocationWay{
	{
		name: "channel", who: "ana", victim: `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"rtm":{"userId":"7"},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"weekly","uid":7}`,
		body:    `{"channel":"daily","for":600}`,
		refused: all(classic("daily", "7", "uid"), classic("daily", "ben", "userAccount"), []string{fetchRTC("daily", 7), joinRTC("daily", 7), joinRTC("daily", 9)}),
		allowed: all(classic("weekly", "7", "uid"), named("7"), classic("*", "7", "uid"), []string{fetchRTC("weekly", 7), joinRTC("weekly", 7), joinRTC("*", 7)}),
	},
	{
		name: "wildcard channel", who: "ana", victim: `"rtc":{"channel":"*","uid":7,"role":"publisher"},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"daily","uid":7}`,
		body:    `{"channel":"*","for":600}`,
		refused: all(classic("*", "7", "uid"), []string{fetchRTC("*", 7), joinRTC("*", 7)}),
		allowed: all(classic("daily", "7", "uid"), named("7"), []string{fetchRTC("daily", 7), joinRTC("daily", 7)}),
	},
	{
		name: "uid", who: "ana", victim: `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"daily","uid":8}`,
		body:    `{"uid":7,"for":600}`,
		refused: all(classic("daily", "7", "uid"), classic("weekly", "7", "userAccount"), named("7"), []string{fetchRTC("x", 7), joinRTC("daily", 7), joinRTC("x", 7), `join "rtm":{"userId":"7"}`, `join "chat":{"userId":"7"}`}),
		allowed: all(classic("daily", "8", "uid"), named("8"), []string{fetchRTC("daily", 70), joinRTC("daily", 77)}),
	},
	{
		name: "account", who: "ana", victim: `"rtc":{"channel":"daily","account":"ben","role":"publisher"},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"daily","account":"benny"}`,
		body:    `{"account":"ben","for":600}`,
		refused: all(classic("daily", "ben", "userAccount"), named("ben"), []string{`join "rtc":{"channel":"x","account":"ben"}`, `join "rtm":{"userId":"ben"}`}),
		allowed: all(classic("daily", "benny", "userAccount"), named("be"), []string{joinRTC("daily", 7)}),
	},
	{
		name: "uid in a channel", who: "ana", victim: `"rtc":{"channel":"daily","uid":7},"ttl":600`,
		other: "ana", bystander: `"rtc":{"channel":"daily","uid":8}`,
		body:    `{"channel":"daily","uid":7,"for":600}`,
		refused: all(classic("daily", "7", "uid"), []string{fetchRTC("daily", 7), joinRTC("daily", 7)}),
		allowed: all(classic("weekly", "7", "uid"), classic("daily", "8", "uid"), named("7")),
	},
	{
		name: "subject", who: "mallory", victim: `"rtm":{"userId":"m"},"chat":{"userId":"m"},"ttl":600`,
		other: "ana", bystander: `"rtm":{"userId":"m"}`,
		body:    `{"subject":"mallory","for":600}`,
		refused: all(classic("daily", "7", "uid"), named("anybody"), []string{fetchRTC("x", 1), joinRTC("daily", 7), `join "rtm":{"userId":"m"}`}),
	},
}

// revoke has an operator end a call on one node from another.
func (r *revocationWay) revoke(s *operated, node int) (answer revoked) {
	s.t.Helper()
	s.order(node, http.MethodPost, "/v1/revocations", r.body, &answer)
	return answer
}

// Whoever was revoked on one node is told on another within a second, has no way
// back to tokens on any, and may come again when the revocation is lifted or its
// time is over; but not to the session that was ended.
func TestRevocationsHoldOnEveryNode(t *testing.T) {
	for _, r := range revocations {
		for _, lift := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/lifted=%v", r.name, lift), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r.hold(newOperated(t, 3, func(_ int, c *Config) { c.Policy.MaxSession = time.Hour }), lift)
				})
			})
		}
	}
}

func (r *revocationWay) hold(s *operated, lift bool) {
	t := s.t
	who, other := credentialFor(t, r.who, false), credentialFor(t, r.other, false)
	victim, bystander := s.join(1, who, r.victim), s.join(1, other, r.bystander)
	time.Sleep(time.Second) // bubble

	began := time.Now()
	answer := r.revoke(s, 0)
	ended := victim.await("ended")
	if ended.Reason != "revoked" || ended.AccessEndsAt != victim.ends() || ended.AccessEndsAt <= session.SecOf(began) {
		t.Errorf("told %+v, the tokens end at %d", ended, victim.ends())
	}
	if took := ended.at.Sub(began); took > time.Second {
		t.Errorf("told after %v", took)
	}
	if end := victim.next(); end.code != 4410 {
		t.Errorf("closed with %d", end.code)
	}
	if answer.Ended != 1 || answer.AccessEndsAt != ended.AccessEndsAt || answer.ID == "" || !answer.Complete || len(answer.WaitingFor) != 0 {
		t.Errorf("answered %+v, the client was told %+v", answer, ended)
	}
	if answer.Until < began.Unix()+600 || answer.Until > began.Unix()+602 {
		t.Errorf("stands until %d, given at %d", answer.Until, began.Unix())
	}

	back := []string{"resume", "renew"}
	s.refusals(100, who, victim, all(r.refused, back))
	s.allOK(who, r.allowed)
	bystander.quiet()

	if lift {
		s.order(2, http.MethodDelete, "/v1/revocations/"+answer.ID, "", &revoked{})
		for _, way := range r.refused {
			if got := s.try(2, who, victim, way); got != "ok" {
				t.Errorf("lifted here, %s: %s", way, got)
			}
		}
		time.Sleep(3 * time.Second) // bubble
	} else {
		time.Sleep(time.Until(time.Unix(answer.Until, 0))) // bubble
	}
	s.allOK(who, r.refused)
	if left := time.Until(answer.AccessEndsAt.Time()); lift && left < 0 {
		t.Errorf("all this took until %v after the tokens' end", -left)
	}
	for i := range s.nodes {
		for _, way := range back {
			if got := s.try(i, who, victim, way); got != "revoked 4410" && got != "410" {
				t.Errorf("the session that was ended, by %s on node %d: %s", way, i, got)
			}
		}
	}
	if answer, _ := s.ask(1, s.admin, http.MethodGet, "/v1/revocations/"+answer.ID, ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("the revocation is still there: %d", answer.StatusCode)
	}
}

// A session that its client has left alone, or whose node is gone, is ended too.
func TestRevocationsReachThoseWhoAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		gone, orphan := s.join(1, s.user, `"rtm":{"userId":"gone"}`), s.join(2, s.user, `"rtm":{"userId":"orphan"}`)
		time.Sleep(time.Second) // bubble
		gone.hangUp()
		s.kill(2)
		var answer revoked
		s.order(0, http.MethodPost, "/v1/revocations", `{"account":"gone"}`, &answer)
		if answer.Ended != 1 || answer.AccessEndsAt != gone.ends() {
			t.Errorf("a client that is away: %+v", answer)
		}
		s.order(0, http.MethodPost, "/v1/revocations", `{"account":"orphan"}`, &answer)
		s.nodes[2] = s.startOne(2)
		s.refusals(100, s.user, gone, []string{"resume", "renew", `join "rtm":{"userId":"gone"}`})
		s.refusals(50, s.user, orphan, []string{"resume", "renew"})
	})
}

// restarts are the ways in which nodes start anew.
var restarts = map[string]func(s *operated){
	"each in good order": func(s *operated) {
		for i := range s.nodes {
			s.deploy(i)
		}
	},
	"each at once": func(s *operated) {
		for i := range s.nodes {
			s.replace(i)
		}
	},
	"all at once": (*operated).restartAll,
}

func TestRevocationsOutliveTheNodes(t *testing.T) {
	for name, restart := range restarts {
		for _, r := range revocations {
			t.Run(name+"/"+r.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newOperated(t, 3, nil)
					who := credentialFor(t, r.who, false)
					victim := s.join(1, who, r.victim)
					time.Sleep(time.Second) // bubble
					answer := r.revoke(s, 0)
					restart(s)
					s.refusals(100, who, victim, all(r.refused, []string{"resume", "renew"}))
					s.order(2, http.MethodDelete, "/v1/revocations/"+answer.ID, "", &revoked{})
					time.Sleep(3 * time.Second) // bubble
					restart(s)
					s.allOK(who, r.refused) // and what was lifted stays lifted
				})
			})
		}
	}
}

// Clients that come back at the same moment at which they are revoked slip through
// nowhere, and what they came back to is over for good.
func TestRevocationsAgainstClientsThatMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		var all []*line
		for round := range 60 {
			user := fmt.Sprintf("u%d", round)
			wants := fmt.Sprintf(`"rtm":{"userId":%q}`, user)
			l := s.join(round%3, s.user, wants)
			all = append(all, l)
			moment := 200 * time.Millisecond
			moved := make(chan *line)
			go func() {
				if round%2 == 0 { // of the others, chance decides who is first
					time.Sleep(time.Duration(round%10-5) * 10 * time.Millisecond) // bubble
				}
				time.Sleep(moment) // bubble
				moved <- s.open(s.nodes[(round+1)%3].address, l.resumeMessage())
			}()
			time.Sleep(moment) // bubble
			s.order((round+2-round%4/3)%3, http.MethodPost, "/v1/revocations", fmt.Sprintf(`{"account":%q,"for":60}`, user), &revoked{})
			again := <-moved
			time.Sleep(3 * time.Second) // bubble
			if ended := again.await("ended"); ended.Reason != "revoked" {
				t.Errorf("round %d: %+v", round, ended)
			}
		}
		s.overForGood(all)
	})
}

// overForGood demands that sessions are over, also when their revocations are.
func (s *operated) overForGood(lines []*line) {
	s.t.Helper()
	if open, _ := s.memory.Len(); open != 0 {
		s.t.Errorf("%d sessions are open", open)
	}
	time.Sleep(2 * time.Minute) // bubble
	for _, l := range lines {
		for i := range s.nodes {
			for _, way := range []string{"resume", "renew"} {
				if got := s.try(i, s.user, l, way); got != "revoked 4410" && got != "410" {
					s.t.Errorf("after the revocation, by %s on node %d: %s", way, i, got)
				}
			}
		}
	}
}

// midway is a store that has something happen while a client is on its way back.
type midway struct {
	Store
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

// A client is revoked after its node has let it through, and before its session is
// there.
func TestRevocationsAgainstClientsOnTheirWayBack(t *testing.T) {
	for _, way := range []string{"resume", "renew"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var happens func()
				s := newOperated(t, 1, nil)
				s.wrap = func(st Store) Store { return midway{st, &happens} }
				s.nodes = append(s.nodes, s.startOne(1))
				l := s.join(0, s.user, `"rtm":{"userId":"u"}`)
				time.Sleep(time.Second) // bubble
				l.hangUp()
				happens = func() {
					s.order(0, http.MethodPost, "/v1/revocations", `{"account":"u","for":60}`, &revoked{})
				}
				if got := s.try(1, s.user, l, way); got != "revoked 4410" && got != "410" {
					t.Errorf("came back: %s", got)
				}
				if happens != nil {
					t.Fatal("the store was not asked")
				}
				time.Sleep(3 * time.Second) // bubble
				s.overForGood([]*line{l})
			})
		})
	}
}

func TestRevocationRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 1, nil)
		for _, c := range []struct {
			credential, request string
			status              int
		}{
			{s.admin, `POST /v1/revocations {}`, 400},
			{s.admin, `POST /v1/revocations {"for":60}`, 400},
			{s.admin, `POST /v1/revocations {"channel":"c","for":0}`, 400},
			{s.admin, `POST /v1/revocations {"channel":"c","for":-1}`, 400},
			{s.admin, `POST /v1/revocations {"channel":"c","for":31536001}`, 400},
			{s.admin, `POST /v1/revocations {"channel":"c","for":"long"}`, 400},
			{s.admin, `POST /v1/revocations {"uid":-1}`, 400},
			{s.admin, `POST /v1/revocations {"uid":4294967296}`, 400},
			{s.admin, `POST /v1/revocations {"uid":1,"account":"a"}`, 400},
			{s.admin, `POST /v1/revocations {"channel":5}`, 400},
			{s.admin, `POST /v1/revocations {"chanel":"c"}`, 400},
			{s.admin, `POST /v1/revocations {"channel":"c","subjekt":"ana"}`, 400},
			{s.admin, `POST /v1/revocations {"channel":"","uid":7}`, 400},
			{s.admin, `POST /v1/revocations {"uid":7,"uid":8}`, 400},
			{s.admin, `POST /v1/revocations ["uid"]`, 400},
			{s.admin, `POST /v1/revocations null`, 400},
			{s.admin, `POST /v1/revocations [`, 400},
			{s.admin, `POST /v1/revocations`, 400},
			{s.admin, `GET /v1/revocations/none`, 404},
			{s.admin, `DELETE /v1/revocations/none`, 404},
			{s.admin, `DELETE /v1/sessions/none`, 404},
			{s.user, `POST /v1/revocations {"channel":"c"}`, 403},
			{s.user, `GET /v1/revocations`, 403},
			{s.user, `DELETE /v1/revocations/none`, 403},
			{s.user, `DELETE /v1/sessions/none`, 403},
			{"", `POST /v1/revocations {"channel":"c"}`, 401},
			{"nonsense", `DELETE /v1/sessions/none`, 401},
		} {
			method, path, body := splitRequest(c.request)
			if answer, text := s.ask(0, c.credential, method, path, body); answer.StatusCode != c.status {
				t.Errorf("%s: %d %s, want %d", c.request, answer.StatusCode, text, c.status)
			} else if strings.Contains(text, "selection") { // a name in the code
				t.Errorf("%s: %s", c.request, text)
			}
		}
		if all, _, err := s.memory.Revocations(t.Context(), store.RevocationsVersion{}); err != nil || len(all) != 0 {
			t.Errorf("revocations came of it: %+v, %v", all, err)
		}
		var given revoked
		s.order(0, http.MethodPost, "/v1/revocations", `{"channel":"c","for":31536000}`, &given)
		if lasts := given.Until - time.Now().Unix(); lasts < 31536000 || lasts > 31536002 {
			t.Errorf("stands for %d s", lasts)
		}
		var page struct {
			Revocations []struct{ ID, Channel string }
		}
		s.order(0, http.MethodGet, "/v1/revocations", "", &page)
		if len(page.Revocations) != 1 || page.Revocations[0].ID != given.ID || page.Revocations[0].Channel != "c" {
			t.Errorf("those that stand: %+v", page)
		}
	})
}

// The same between real nodes, by a real Redis.
func TestRevocationsOfRealNodes(t *testing.T) {
	server := redistest.Start(t)
	begin := func() *node {
		return startNode(t, func(c *Config) {
			c.Auth, c.Projects[0].Keys = "jwt", credential.Keys{Secrets: []string{operatorSecret}}
			c.RedisURL = server.URL()
		})
	}
	a, b := begin(), begin()
	admin, ana := credentialFor(t, "operator", true), credentialFor(t, "ana", false)
	join := joinMessage(ana, `"rtc":{"channel":"daily","uid":7,"role":"publisher"}`)
	s := b.dial()
	s.send(join)
	joined := s.expect("joined")

	began := time.Now()
	answer, text := a.do(http.MethodPost, "/v1/revocations", `{"channel":"daily","for":600}`, "Authorization", "Bearer "+admin)
	var given revoked
	if err := json.Unmarshal([]byte(text), &given); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %s: %v", answer.StatusCode, text, err)
	}
	if ended := s.expect("ended"); ended.Reason != "revoked" {
		t.Errorf("told %+v", ended)
	}
	s.closed(protocol.CloseEnded)
	t.Logf("told on the other node within %v", time.Since(began))
	if given.Ended != 1 || given.AccessEndsAt != joined.Tokens.RTC.ExpiresAt || !given.Complete || len(given.WaitingFor) != 0 {
		t.Errorf("answered %+v, the tokens end at %d", given, joined.Tokens.RTC.ExpiresAt)
	}

	shut := func(n *node) {
		t.Helper()
		s := n.dial()
		s.send(join)
		if refused := s.expect("error"); refused.Code != "forbidden" {
			t.Errorf("joined: %+v", refused)
		}
		s.closed(protocol.CloseForbidden)
		s = n.dial()
		s.send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
		if ended := s.expect("ended"); ended.Reason != "revoked" {
			t.Errorf("resumed: %+v", ended)
		}
		s.closed(protocol.CloseEnded)
		if answer, text := n.do(http.MethodPost, "/v1/sessions/"+joined.Session+"/renew", "", "Authorization", "Bearer "+joined.Key); answer.StatusCode != http.StatusGone {
			t.Errorf("renewed: %d %s", answer.StatusCode, text)
		}
		for _, request := range all(classic("daily", "7", "uid"), []string{fetchRTC("daily", 7)}) {
			method, path, body := splitRequest(request)
			if answer, text := n.do(method, path, body, "Authorization", "Bearer "+ana); answer.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %d %s", request, answer.StatusCode, text)
			}
		}
	}
	shut(a)
	shut(b)
	a.stop()
	b.stop()
	c := begin() // whoever knew of it is gone, but for Redis
	shut(c)
	if answer, text := c.do(http.MethodDelete, "/v1/revocations/"+given.ID, "", "Authorization", "Bearer "+admin); answer.StatusCode != http.StatusOK {
		t.Errorf("lifted: %d %s", answer.StatusCode, text)
	}
	s = c.dial()
	s.send(join)
	s.expect("joined")
}

// Pages of revocations end where there are no more, and not a page later.
func TestRevocationsByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 1, nil)
		const page = 200
		for n := range page + 1 {
			s.order(0, http.MethodPost, "/v1/revocations", fmt.Sprintf(`{"subject":"u%d","for":3600}`, n), &struct{}{})
			var list struct {
				Revocations []struct{ ID string }
				Cursor      string
			}
			if n < page-1 {
				continue
			}
			s.order(0, http.MethodGet, "/v1/revocations", "", &list)
			if len(list.Revocations) != page || (list.Cursor != "") != (n >= page) {
				t.Errorf("of %d: %d, cursor %q", n+1, len(list.Revocations), list.Cursor)
			}
			if list.Cursor == "" {
				continue
			}
			last := list.Revocations[page-1].ID
			list.Revocations, list.Cursor = nil, ""
			s.order(0, http.MethodGet, "/v1/revocations?cursor="+last, "", &list)
			if len(list.Revocations) != 1 || list.Cursor != "" || list.Revocations[0].ID <= last {
				t.Errorf("the last page: %+v", list)
			}
		}
	})
}

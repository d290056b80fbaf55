//go:build !race

package revocation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/store"
)

// A revocation on one node ends a session on another node within a second. The client gets no
// tokens on any node, even after a restart of all nodes and while the store is down. It may join
// again when the revocation is lifted or has ended, but cannot resume the ended session.
func TestRevocationsHoldOnEveryNode(t *testing.T) {
	for _, lift := range []bool{true, false} {
		t.Run(fmt.Sprintf("lifted=%v", lift), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { hold(t, lift) })
		})
	}
}

func hold(t *testing.T, lift bool) {
	s := apptest.NewCluster(t, 3, func(_ int, c *app.Config) { c.Policy.MaxSession = time.Hour })
	who := apptest.CredentialFor(t, "ana", false)
	victim := s.Join(1, who, `"rtc":{"channel":"daily","uid":7,"role":"publisher"},"rtm":{"userId":"7"},"ttl":600`)
	bystander := s.Join(1, s.User, `"rtc":{"channel":"weekly","uid":7}`)
	time.Sleep(time.Second) // bubble

	began := time.Now()
	answer := order(s, `{"channel":"daily","for":600}`)
	ended := victim.Await("ended")
	if ended.Reason != "revoked" || ended.AccessEndsAt != victim.Ends() || ended.At.Sub(began) > time.Second {
		t.Errorf("told %+v, the tokens end at %d", ended, victim.Ends())
	}
	if end := victim.Next(); end.CloseCode != 4410 {
		t.Errorf("closed with %d", end.CloseCode)
	}
	if answer.Ended != 1 || answer.AccessEndsAt != ended.AccessEndsAt || !answer.Complete || len(answer.WaitingFor) != 0 {
		t.Errorf("answered %+v, the client was told %+v", answer, ended)
	}
	if answer.Until < began.Unix()+600 || answer.Until > began.Unix()+602 {
		t.Errorf("stands until %d, given at %d", answer.Until, began.Unix())
	}

	refused := append(apptest.Ways(apptest.Classic("daily", "7", "uid")), apptest.FetchRTC("daily", 7), apptest.JoinRTC("daily", 9))
	allowed := append(apptest.Ways(apptest.Classic("weekly", "7", "uid"), apptest.Named("7")), apptest.JoinRTC("weekly", 7))
	back := []apptest.Way{apptest.Resume, apptest.Renew}
	s.Refusals(100, who, victim, slices.Concat(refused, back))
	s.AllOK(who, allowed)
	bystander.Quiet()
	if lift {
		time.Sleep(2 * time.Second) // bubble: in this time the node saves the session's end
		s.RestartAll()
		s.Refusals(100, who, victim, slices.Concat(refused, back))
		s.Order(2, http.MethodDelete, "/v1/revocations/"+answer.ID, "", &apptest.Revoked{})
		time.Sleep(3 * time.Second) // bubble
	} else {
		s.Away.Store(true)
		time.Sleep(time.Minute) // bubble
		s.Refusals(100, who, victim, slices.Concat(refused, back))
		s.AllOK(who, allowed)
		s.Away.Store(false)
		time.Sleep(time.Until(time.Unix(answer.Until, 0))) // bubble
	}
	s.AllOK(who, refused)
	endedForGood(s, victim)
	if answer, _ := s.Ask(1, s.Admin, http.MethodGet, "/v1/revocations/"+answer.ID, ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("the revocation is still there: %d", answer.StatusCode)
	}
}

func endedForGood(s *apptest.Cluster, l *apptest.Line) {
	s.T.Helper()
	for i := range s.Nodes {
		for _, way := range []apptest.Way{apptest.Resume, apptest.Renew} {
			if got := s.Try(i, s.User, l, way); !got.Revoked() {
				s.T.Errorf("the session that was ended, by %v on node %d: %+v", way, i, got)
			}
		}
	}
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
		if open, _ := s.Memory.Len(); open != 0 {
			t.Errorf("%d sessions are open", open)
		}
		time.Sleep(2 * time.Minute) // bubble: in this time the revocations end
		for _, l := range all {
			endedForGood(s, l)
		}
	})
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

// A client that comes back is refused even if its revocation arrives after the node has checked
// the revocations, and before the session is in the node's table.
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
				time.Sleep(2 * time.Minute) // bubble
				endedForGood(s, l)
			})
		})
	}
}

func TestRevocationRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 1, nil)
		for _, body := range []string{
			"", "{}", "[", `{"for":60}`,
			`{"channel":"c","for":0}`, `{"channel":"c","for":31536001}`, `{"channel":"c","for":"long"}`,
			`{"uid":-1}`, `{"uid":4294967296}`, `{"uid":1,"account":"a"}`, `{"uid":7,"uid":8}`,
			`{"channel":5}`, `{"channel":"c","subjekt":"ana"}`, `{"channel":"","uid":7}`,
		} {
			answer, text := s.Ask(0, s.Admin, http.MethodPost, "/v1/revocations", body)
			if answer.StatusCode != http.StatusBadRequest || strings.Contains(text, "selection") { // an error message must not contain names of the code, such as selection
				t.Errorf("%s: %d %s", body, answer.StatusCode, text)
			}
		}
		if all, _, _, err := s.Memory.Revocations(t.Context(), store.RevocationsVersion{}); err != nil || len(all) != 0 {
			t.Errorf("revocations came of it: %+v, %v", all, err)
		}
		given := order(s, `{"channel":"c","for":31536000}`)
		if lasts := given.Until - time.Now().Unix(); lasts < 31536000 || lasts > 31536002 {
			t.Errorf("stands for %d s", lasts)
		}
	})
}

// While the store is down, a revocation that is added or lifted takes effect at once on the node
// that received the request, which answers 503 with its own progress. The other nodes apply the
// change when the store is reachable again.
func TestRevocationsGivenWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		near, far := s.Join(0, s.User, `"rtm":{"userId":"u"}`), s.Join(1, s.User, `"rtm":{"userId":"u"}`)
		lifted := order(s, `{"account":"v"}`)
		time.Sleep(time.Second) // bubble
		s.Away.Store(true)

		answer, text := s.Ask(0, s.Admin, http.MethodPost, "/v1/revocations", `{"account":"u","for":600}`)
		var said apptest.Revoked
		if err := json.Unmarshal([]byte(text), &said); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if answer.StatusCode != http.StatusServiceUnavailable || said.Code != "unavailable" || said.Status != 503 || said.Error == "" || said.Done == nil {
			t.Fatalf("%d %s", answer.StatusCode, text)
		}
		if said.Done.Ended != 1 || said.Done.AccessEndsAt != near.Ends() || said.Done.ID == "" {
			t.Errorf("was done: %+v", said.Done)
		}
		if answer, text := s.Ask(0, s.Admin, http.MethodDelete, "/v1/revocations/"+lifted.ID, ""); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("lifted: %d %s", answer.StatusCode, text)
		}
		if ended := near.Await("ended"); ended.Reason != "revoked" {
			t.Errorf("on this node: %+v", ended)
		}
		if got := s.Try(0, s.User, far, apptest.Renew); !got.Refused() { // the session of the other node cannot be renewed on this node either
			t.Errorf("renewed: %+v", got)
		}
		far.Quiet()
		s.Away.Store(false)
		if ended := far.Await("ended"); ended.Reason != "revoked" {
			t.Errorf("on the other node: %+v", ended)
		}
	})
}

func order(s *apptest.Cluster, body string) (answer apptest.Revoked) {
	s.T.Helper()
	s.Order(0, http.MethodPost, "/v1/revocations", body, &answer)
	return answer
}

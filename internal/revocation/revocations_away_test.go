//go:build !race

package revocation_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/store"
)

// Revocations from before an outage of the store have effect during it.
func TestRevocationsHoldWithoutTheStore(t *testing.T) {
	for _, r := range revocations {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apptest.NewCluster(t, 3, nil)
				who := apptest.CredentialFor(t, r.who, false)
				victim := s.Join(1, who, r.victim)
				time.Sleep(time.Second) // bubble
				r.revoke(s, 0)
				s.Away.Store(true)
				s.Refusals(100, who, victim, append(slices.Clip(r.refused), apptest.Resume, apptest.Renew))
				time.Sleep(time.Minute) // bubble
				s.Refusals(100, who, victim, append(slices.Clip(r.refused), apptest.Resume, apptest.Renew))
				s.AllOK(who, r.allowed)
			})
		})
	}
}

// A revocation that is added while the store is down has effect at once on the node that
// was asked, and on the others when the store is back.
func TestRevocationsGivenWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		near, far := s.Join(0, s.User, `"rtm":{"userId":"u"}`), s.Join(1, s.User, `"rtm":{"userId":"u"}`)
		wanderer := s.Join(2, s.User, `"rtm":{"userId":"u"}`)
		time.Sleep(time.Second) // bubble
		wanderer.HangUp()
		s.Away.Store(true)
		time.Sleep(10 * time.Second) // bubble

		began := time.Now()
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
		if ended := near.Await("ended"); ended.Reason != "revoked" || ended.At.Sub(began) > time.Second {
			t.Errorf("on this node: %+v after %v", ended, ended.At.Sub(began))
		}
		ways := []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"u"}`), apptest.Get("/rtm/u"), apptest.Get("/rte/c/publisher/uid/1/u")}
		for n := range 100 {
			for _, l := range []*apptest.Line{near, far, wanderer} { // sealed keys of other nodes do not help
				if got := s.Try(0, s.User, l, ways[n%len(ways)]); !got.Refused() {
					t.Errorf("%v: %+v", ways[n%len(ways)], got)
				}
			}
		}
		t.Logf("%d attempts on the node that was asked were refused", 300)
		far.Quiet() // nobody could tell its node
		if got := s.Try(1, s.User, far, apptest.Get("/rtm/u")); got != apptest.OK {
			t.Errorf("on a node that cannot know: %+v", got)
		}

		back := time.Now()
		s.Away.Store(false)
		if ended := far.Await("ended"); ended.Reason != "revoked" || ended.At.Sub(back) > 5*time.Second {
			t.Errorf("on another node: %+v, %v after the store's return", ended, ended.At.Sub(back))
		} else {
			t.Logf("carried out on another node %v after the store's return", ended.At.Sub(back))
		}
		time.Sleep(time.Second) // bubble: every other node knows it by then
		s.Refusals(100, s.User, wanderer, ways)
		s.RestartAll()
		s.Refusals(100, s.User, wanderer, ways)
	})
}

// If the node that was asked stops before the store is back, the revocation is lost; its
// answer had said so.
func TestRevocationIsLostWithTheOnlyNodeThatKnewIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		time.Sleep(time.Second) // bubble
		s.Away.Store(true)
		answer, _ := s.Ask(0, s.Admin, http.MethodPost, "/v1/revocations", `{"account":"u"}`)
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("answered %d", answer.StatusCode)
		}
		s.Kill(0)
		s.Away.Store(false)
		s.Nodes[0] = s.StartOne(0)
		time.Sleep(3 * time.Second) // bubble
		s.AllOK(s.User, []apptest.Way{apptest.Get("/rtm/u")})
	})
}

// A lift while the store is down has effect on the node that was asked, and on the others
// when the store is back.
func TestRevocationLiftedWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		var given apptest.Revoked
		s.Order(0, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		time.Sleep(time.Second) // bubble
		s.Away.Store(true)
		if answer, text := s.Ask(1, s.Admin, http.MethodDelete, "/v1/revocations/"+given.ID, ""); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("answered %d %s", answer.StatusCode, text)
		}
		if here, there := s.Try(1, s.User, nil, apptest.Get("/rtm/u")), s.Try(0, s.User, nil, apptest.Get("/rtm/u")); here != apptest.OK || there.Status != http.StatusForbidden {
			t.Errorf("where it was lifted: %+v; elsewhere: %+v", here, there)
		}
		s.Away.Store(false)
		time.Sleep(5 * time.Second) // bubble
		s.AllOK(s.User, []apptest.Way{apptest.Get("/rtm/u")})
		s.RestartAll()
		s.AllOK(s.User, []apptest.Way{apptest.Get("/rtm/u")})
	})
}

// The nodes restore the revocations into an emptied store, so that nodes that start later
// read them.
func TestRevocationsOutliveTheLossOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 3, nil)
		victim := s.Join(1, s.User, `"rtm":{"userId":"u"}`)
		var given, lifted apptest.Revoked
		s.Order(0, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		s.Order(0, http.MethodPost, "/v1/revocations", `{"account":"v"}`, &lifted)
		s.Order(1, http.MethodDelete, "/v1/revocations/"+lifted.ID, "", &apptest.Revoked{})
		time.Sleep(3 * time.Second) // bubble
		s.Memory.Lose()
		ways := []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"u"}`), apptest.Get("/rtm/u")}
		s.Refusals(100, s.User, victim, ways)
		time.Sleep(5 * time.Second) // bubble
		all, _, err := s.Memory.Revocations(t.Context(), store.RevocationsVersion{})
		if err != nil || len(all) != 2 {
			t.Errorf("written back: %+v, %v", all, err)
		}
		s.RestartAll()
		s.Refusals(100, s.User, victim, ways)
		s.AllOK(s.User, []apptest.Way{apptest.Get("/rtm/v")})
	})
}

// A node that starts while the store is down admits no client until it has read the
// revocations.
func TestNodeTakesNobodyBeforeItKnowsWhatWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		victim, other := s.Join(1, s.User, `"rtm":{"userId":"u"}`), s.Join(0, s.User, `"rtm":{"userId":"w"}`)
		var given apptest.Revoked
		s.Order(0, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		time.Sleep(time.Second) // bubble
		s.Away.Store(true)
		s.Replace(0)
		if answer, text := s.Ops(0, "/readyz"); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("/readyz, at the start: %d %s", answer.StatusCode, text)
		}
		tries := make(map[apptest.Outcome]int)
		for range 25 {
			for _, way := range []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"w"}`), apptest.Get("/rtm/w")} {
				for _, l := range []*apptest.Line{victim, other} {
					got := s.Try(0, s.User, l, way)
					tries[got]++
					socket := apptest.Outcome{Code: "unavailable", Close: protocol.CloseOverload, Later: true}
					if got != socket && got != (apptest.Outcome{Status: http.StatusServiceUnavailable, Later: true}) {
						t.Errorf("%v: %+v", way, got)
					}
				}
			}
			time.Sleep(time.Second) // bubble
		}
		t.Logf("on a node that does not know: %v", tries)
		if answer, text := s.Ops(0, "/readyz"); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("/readyz: %d %s", answer.StatusCode, text)
		}
		if answer, text := s.Ops(0, "/healthz"); answer.StatusCode != http.StatusOK { // or it would be killed for it
			t.Errorf("/healthz: %d %s", answer.StatusCode, text)
		}
		if answer, text := s.Ops(1, "/readyz"); answer.StatusCode != http.StatusOK {
			t.Errorf("/readyz of a node that knows: %d %s", answer.StatusCode, text)
		}

		s.Away.Store(false)
		time.Sleep(3 * time.Second) // bubble
		if answer, text := s.Ops(0, "/readyz"); answer.StatusCode != http.StatusOK {
			t.Errorf("/readyz, with the store: %d %s", answer.StatusCode, text)
		}
		s.Refusals(50, s.User, victim, []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"u"}`), apptest.Get("/rtm/u")})
		s.AllOK(s.User, []apptest.Way{apptest.Join(`"rtm":{"userId":"w"}`), apptest.Get("/rtm/w")})
		s.Resume(0, other)
	})
}

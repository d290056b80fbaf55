package app

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/store"
)

// What was revoked before the store went away holds while it is away.
func TestRevocationsHoldWithoutTheStore(t *testing.T) {
	for _, r := range revocations {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newOperated(t, 3, nil)
				who := credentialFor(t, r.who, false)
				victim := s.join(1, who, r.victim)
				time.Sleep(time.Second) // bubble
				r.revoke(s, 0)
				s.away.Store(true)
				s.refusals(100, who, victim, all(r.refused, []string{"resume", "renew"}))
				time.Sleep(time.Minute) // bubble
				s.refusals(100, who, victim, all(r.refused, []string{"resume", "renew"}))
				s.allOK(who, r.allowed)
			})
		})
	}
}

// What is revoked while the store is away counts on the node that was asked at
// once, and on the others as soon as the store is back.
func TestRevocationsGivenWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		near, far := s.join(0, s.user, `"rtm":{"userId":"u"}`), s.join(1, s.user, `"rtm":{"userId":"u"}`)
		wanderer := s.join(2, s.user, `"rtm":{"userId":"u"}`)
		time.Sleep(time.Second) // bubble
		wanderer.hangUp()
		s.away.Store(true)
		time.Sleep(10 * time.Second) // bubble

		began := time.Now()
		answer, text := s.ask(0, s.admin, http.MethodPost, "/v1/revocations", `{"account":"u","for":600}`)
		var said revoked
		if err := json.Unmarshal([]byte(text), &said); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if answer.StatusCode != http.StatusServiceUnavailable || said.Code != "unavailable" || said.Status != 503 || said.Error == "" || said.Done == nil {
			t.Fatalf("%d %s", answer.StatusCode, text)
		}
		if said.Done.Ended != 1 || said.Done.AccessEndsAt != near.ends() || said.Done.ID == "" {
			t.Errorf("was done: %+v", said.Done)
		}
		if ended := near.await("ended"); ended.Reason != "revoked" || ended.at.Sub(began) > time.Second {
			t.Errorf("on this node: %+v after %v", ended, ended.at.Sub(began))
		}
		ways := []string{"resume", "renew", `join "rtm":{"userId":"u"}`, "GET /rtm/u", "GET /rte/c/publisher/uid/1/u"}
		for n := range 100 {
			for _, l := range []*line{near, far, wanderer} { // sealed keys of other nodes do not help
				if got := s.try(0, s.user, l, ways[n%len(ways)]); got != "forbidden 4403" && got != "403" && got != "410" && got != "revoked 4410" {
					t.Errorf("%s: %s", ways[n%len(ways)], got)
				}
			}
		}
		t.Logf("%d attempts on the node that was asked were refused", 300)
		far.quiet() // nobody could tell its node
		if got := s.try(1, s.user, far, "GET /rtm/u"); got != "ok" {
			t.Errorf("on a node that cannot know: %s", got)
		}

		back := time.Now()
		s.away.Store(false)
		if ended := far.await("ended"); ended.Reason != "revoked" || ended.at.Sub(back) > 5*time.Second {
			t.Errorf("on another node: %+v, %v after the store's return", ended, ended.at.Sub(back))
		} else {
			t.Logf("carried out on another node %v after the store's return", ended.at.Sub(back))
		}
		s.refusals(100, s.user, wanderer, ways)
		s.restartAll()
		s.refusals(100, s.user, wanderer, ways)
	})
}

// A node that is asked while the store is away, and stops before it is back, has
// told the operator so.
func TestRevocationIsLostWithTheOnlyNodeThatKnewIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		time.Sleep(time.Second) // bubble
		s.away.Store(true)
		answer, _ := s.ask(0, s.admin, http.MethodPost, "/v1/revocations", `{"account":"u"}`)
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("answered %d", answer.StatusCode)
		}
		s.kill(0)
		s.away.Store(false)
		s.nodes[0] = s.startOne(0)
		time.Sleep(3 * time.Second) // bubble
		s.allOK(s.user, []string{"GET /rtm/u"})
	})
}

// A lifting that the store was not told of counts here, and everywhere later.
func TestRevocationLiftedWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		var given revoked
		s.order(0, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		time.Sleep(time.Second) // bubble
		s.away.Store(true)
		if answer, text := s.ask(1, s.admin, http.MethodDelete, "/v1/revocations/"+given.ID, ""); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("answered %d %s", answer.StatusCode, text)
		}
		if here, there := s.try(1, s.user, nil, "GET /rtm/u"), s.try(0, s.user, nil, "GET /rtm/u"); here != "ok" || there != "403" {
			t.Errorf("where it was lifted: %s; elsewhere: %s", here, there)
		}
		s.away.Store(false)
		time.Sleep(5 * time.Second) // bubble
		s.allOK(s.user, []string{"GET /rtm/u"})
		s.restartAll()
		s.allOK(s.user, []string{"GET /rtm/u"})
	})
}

// A store that was emptied is given the revocations again by the nodes, so that
// those that start later know them.
func TestRevocationsOutliveTheLossOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 3, nil)
		victim := s.join(1, s.user, `"rtm":{"userId":"u"}`)
		var given, lifted revoked
		s.order(0, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		s.order(0, http.MethodPost, "/v1/revocations", `{"account":"v"}`, &lifted)
		s.order(1, http.MethodDelete, "/v1/revocations/"+lifted.ID, "", &revoked{})
		time.Sleep(3 * time.Second) // bubble
		s.memory.Lose()
		ways := []string{"resume", "renew", `join "rtm":{"userId":"u"}`, "GET /rtm/u"}
		s.refusals(100, s.user, victim, ways)
		time.Sleep(5 * time.Second) // bubble
		all, _, err := s.memory.Revocations(t.Context(), store.RevocationsVersion{})
		if err != nil || len(all) != 2 {
			t.Errorf("written back: %+v, %v", all, err)
		}
		s.restartAll()
		s.refusals(100, s.user, victim, ways)
		s.allOK(s.user, []string{"GET /rtm/v"})
	})
}

// A node that starts while the store is away does not know what was revoked, and
// takes nobody until it does.
func TestNodeTakesNobodyBeforeItKnowsWhatWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newOperated(t, 2, nil)
		victim, guest := s.join(1, s.user, `"rtm":{"userId":"u"}`), s.join(0, s.user, `"rtm":{"userId":"w"}`)
		var given revoked
		s.order(0, http.MethodPost, "/v1/revocations", `{"account":"u"}`, &given)
		time.Sleep(time.Second) // bubble
		s.away.Store(true)
		s.replace(0)
		if answer, text := s.ops(0, "/readyz"); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("/readyz, at the start: %d %s", answer.StatusCode, text)
		}
		tries := make(map[string]int)
		for range 25 {
			for _, way := range []string{"resume", "renew", `join "rtm":{"userId":"w"}`, "GET /rtm/w"} {
				for _, l := range []*line{victim, guest} {
					got := s.try(0, s.user, l, way)
					tries[got]++
					if got != "unavailable later 1013" && got != "503, later" {
						t.Errorf("%s: %s", way, got)
					}
				}
			}
			time.Sleep(time.Second) // bubble
		}
		t.Logf("on a node that does not know: %v", tries)
		if answer, text := s.ops(0, "/readyz"); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("/readyz: %d %s", answer.StatusCode, text)
		}
		if answer, text := s.ops(0, "/healthz"); answer.StatusCode != http.StatusOK { // or it would be killed for it
			t.Errorf("/healthz: %d %s", answer.StatusCode, text)
		}
		if answer, text := s.ops(1, "/readyz"); answer.StatusCode != http.StatusOK {
			t.Errorf("/readyz of a node that knows: %d %s", answer.StatusCode, text)
		}

		s.away.Store(false)
		time.Sleep(3 * time.Second) // bubble
		if answer, text := s.ops(0, "/readyz"); answer.StatusCode != http.StatusOK {
			t.Errorf("/readyz, with the store: %d %s", answer.StatusCode, text)
		}
		s.refusals(50, s.user, victim, []string{"resume", "renew", `join "rtm":{"userId":"u"}`, "GET /rtm/u"})
		s.allOK(s.user, []string{`join "rtm":{"userId":"w"}`, "GET /rtm/w"})
		s.resume(0, guest)
	})
}

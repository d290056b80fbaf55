//go:build !race

package revocation_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

// While the store is down, a revocation or a lift has effect at once on the node that
// received it, which answers 503 with its own progress. The other nodes apply it when the
// store is reachable again.
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
		ways := []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"u"}`), apptest.Get("/rtm/u")}
		for _, way := range ways {
			if got := s.Try(0, s.User, far, way); !got.Refused() { // the other node's resume key is refused, too
				t.Errorf("%v: %+v", way, got)
			}
		}
		far.Quiet()
		if here, there := s.Try(0, s.User, nil, apptest.Get("/rtm/v")), s.Try(1, s.User, nil, apptest.Get("/rtm/v")); here != apptest.OK || there.Status != http.StatusForbidden {
			t.Errorf("where it was lifted: %+v; elsewhere: %+v", here, there)
		}

		s.Away.Store(false)
		if ended := far.Await("ended"); ended.Reason != "revoked" {
			t.Errorf("on the other node: %+v", ended)
		}
		time.Sleep(5 * time.Second) // bubble
		s.Refusals(50, s.User, far, ways)
		s.AllOK(s.User, []apptest.Way{apptest.Get("/rtm/v")})
	})
}

// A node that starts while the store is down is not ready, and admits no client, until it has
// read the revocations.
func TestNodeTakesNobodyBeforeItKnowsWhatWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		victim, other := s.Join(1, s.User, `"rtm":{"userId":"u"}`), s.Join(0, s.User, `"rtm":{"userId":"w"}`)
		order(s, `{"account":"u"}`)
		time.Sleep(time.Second) // bubble
		health := func(node int, path string, want int) {
			t.Helper()
			if answer, text := s.Ops(node, path); answer.StatusCode != want {
				t.Errorf("%s of node %d: %d %s, want %d", path, node, answer.StatusCode, text, want)
			}
		}
		s.Away.Store(true)
		s.Replace(0)
		health(0, "/readyz", http.StatusServiceUnavailable)
		for _, way := range []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"w"}`), apptest.Get("/rtm/w")} {
			for _, l := range []*apptest.Line{victim, other} {
				got := s.Try(0, s.User, l, way)
				socket := apptest.Outcome{Code: "unavailable", Close: protocol.CloseOverload, Later: true}
				if got != socket && got != (apptest.Outcome{Status: http.StatusServiceUnavailable, Later: true}) {
					t.Errorf("%v: %+v", way, got)
				}
			}
		}
		time.Sleep(time.Minute) // bubble
		health(0, "/readyz", http.StatusServiceUnavailable)
		health(0, "/healthz", http.StatusOK) // a failure would make the orchestrator kill the node
		health(1, "/readyz", http.StatusOK)

		s.Away.Store(false)
		time.Sleep(3 * time.Second) // bubble
		health(0, "/readyz", http.StatusOK)
		s.Refusals(50, s.User, victim, []apptest.Way{apptest.Resume, apptest.Renew, apptest.Join(`"rtm":{"userId":"u"}`), apptest.Get("/rtm/u")})
		s.AllOK(s.User, []apptest.Way{apptest.Join(`"rtm":{"userId":"w"}`), apptest.Get("/rtm/w")})
		s.Resume(0, other)
	})
}

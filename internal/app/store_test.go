package app

import (
	"io"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// What a node that is gone leaves behind in Redis is taken over by one that serves
// the same projects, whichever of them it is of.
func TestOverdueSessionsOfAllProjectsAreClaimed(t *testing.T) {
	t.Parallel()
	c := testConfig()
	two(&c)
	server := redistest.Start(t)
	c.RedisURL = server.URL()
	s, err := openStore(c, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if connected, ok := s.(io.Closer); ok {
		t.Cleanup(func() { _ = connected.Close() })
	}
	var left []store.Record
	for _, app := range []string{testAppID, otherAppID, "00000000000000000000000000000000"} {
		left = append(left, store.Record{
			Record: session.Record{
				Key: session.Key{
					Session: "S" + app, App: app, Epoch: 1, Identity: session.Identity{RTM: &session.RTM{UserID: "7"}},
					Terms: session.Terms{TTL: time.Hour, Until: session.SecOf(time.Now().Add(time.Hour))},
				},
				State: session.Attached, Seq: 1, ExpiresAt: session.SecOf(time.Now().Add(time.Hour)),
			},
			Node: "gone", Version: 1, Due: session.MilliOf(time.Now().Add(-time.Hour)),
		})
	}
	outcomes, err := s.Save(t.Context(), left)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if o.Action != store.Done {
			t.Fatalf("save of %s: verdict %d", left[i].Session, o.Action)
		}
	}
	server.Do("ZADD", "{refresher:nodes}:leases", "-1", "since") // who has no lease by now is gone
	claimed := make(map[string]int)
	swept, err := s.Sweep(t.Context(), "alive", store.Claim)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range swept {
		if found.Err != nil {
			t.Fatal(found.Err)
		}
		for _, r := range found.Overdue {
			claimed[r.App]++
		}
	}
	if len(claimed) != 2 || claimed[testAppID] != 1 || claimed[otherAppID] != 1 {
		t.Errorf("claimed, by project: %v", claimed)
	}
}

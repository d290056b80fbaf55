package app

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/project"
	"refresher/internal/redis"
	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// A node takes over the sessions that a dead node left in Redis, of all projects that both serve.
func TestOverdueSessionsOfAllProjectsAreClaimed(t *testing.T) {
	t.Parallel()
	const first, second, foreign = "970CA35de60c44645bbae8a215061b33", "0123456789abcdef0123456789abcdef", "00000000000000000000000000000000"
	server := redistest.Start(t)
	c := Config{Redis: redis.Config{URL: server.URL()}}
	c.Projects = []project.Project{{AppID: first}, {AppID: second}}
	s, err := openStore(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if connected, ok := s.(io.Closer); ok {
		t.Cleanup(func() { _ = connected.Close() })
	}
	var left []store.Record
	for _, app := range []string{first, second, foreign} {
		left = append(left, store.Record{
			Record: session.Record{
				ResumeClaims: session.ResumeClaims{
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
	server.Do("ZADD", "{refresher:nodes}:leases", "-1", "since") // the dead node's lease expires
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
	if len(claimed) != 2 || claimed[first] != 1 || claimed[second] != 1 {
		t.Errorf("claimed, by project: %v", claimed)
	}
}

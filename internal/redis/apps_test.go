package redis

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// A node claims the sessions of all projects that it serves, and of no other: those
// stay as they are until a node comes that does.
func TestOnlyServedAppsAreClaimed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL(), nil)
	var all []store.Record
	for n, app := range []string{"first", "second", "third", "rst-sec", "fir", "second"} {
		r := overdue(idIn(0, n))
		r.App, r.Due = app, r.Due+session.UnixMilli(n)
		all = append(all, r)
	}
	s.saved(t, store.Done, all...)
	claims := func(node string, apps []string, want ...int) {
		t.Helper()
		claimed := open(t, server.URL(), func(c *Config) { c.Apps = apps }).swept(t, node)
		for _, n := range want {
			if r := claimed[all[n].Session]; r.App != all[n].App || r.Node != node || r.Due != all[n].Due {
				t.Errorf("a node of %q claimed %+v, want that of %q", apps, r, all[n].App)
			}
		}
		if len(claimed) != len(want) {
			t.Errorf("a node of %q claimed %d sessions, want %d", apps, len(claimed), len(want))
		}
	}
	claims("x", []string{"fourth", "thi"})
	claims("b", []string{"first", "second"}, 0, 1, 5)
	claims("b", []string{"first", "second"}) // they have its attention
	claims("c", []string{"third"}, 2)
	claims("d", nil, 3, 4)
}

// However many sessions of other nodes' projects are overdue, those behind them get
// their turn.
func TestBehindOthersApps(t *testing.T) {
	t.Parallel()
	s := open(t, redistest.Start(t).UnixURL(), func(c *Config) { c.Apps = []string{"first", "second"} })
	var others []store.Record
	next := idsIn(0)
	for range 2*store.SweepLimit + 1 {
		r := overdue(next())
		r.App, r.Due = "third", r.Due-1
		others = append(others, r)
	}
	own := overdue(next())
	own.App = "second"
	s.saved(t, store.Done, append(others, own)...)
	claimed := s.swept(t, "b")
	if _, ok := claimed[own.Session]; !ok || len(claimed) != 1 {
		t.Errorf("claimed %d sessions, its own: %t", len(claimed), ok)
	}
}

// TestAppPrefixes: records hold the beginning of an App ID, which must be enough to tell
// the projects of one service apart.
func TestAppPrefixes(t *testing.T) {
	t.Parallel()
	first, second := "0123456789abcdef0123456789abcdef", "01234567ffffffffffffffffffffffff"
	_, err := New(Config{Apps: []string{first, first, second}, URL: "redis://127.0.0.1:1", Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), second) || !strings.Contains(err.Error(), "--redis-prefix") {
		t.Errorf("%v", err)
	}
}

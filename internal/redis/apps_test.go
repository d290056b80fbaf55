package redis

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
	"refresher/test/redistest"
)

func TestOnlyServedAppsAreClaimed(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
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
	claims("c", []string{"third"}, 2)
	claims("d", nil, 3, 4)
}

// A node claims overdue sessions of its own projects even if many overdue sessions of other
// projects have earlier due times, so that the node must skip them. If a session of its own then
// gets a due time before all of these, the node claims that session, too. A sweep in between that
// only renews a lease does not change this.
func TestBehindOthersApps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, count := range []struct{ others, own int }{{claimSlice - 1, 300}, {store.SweepLimit, 1}, {3*store.SweepLimit + 1, 10}} {
		server.Do("FLUSHALL")
		s := openAt(t, server.UnixURL())
		s.served = wordList([]string{appPrefix("second")})
		ids := storetest.InShard(0, count.others+count.own+1)
		save := func(app string, due session.UnixMilli, ids []string) {
			var records []store.Record
			for _, id := range ids {
				r := overdue(id)
				r.App, r.Due = app, due
				records = append(records, r)
			}
			s.saved(t, store.Done, records...)
		}
		claim := func(want, sweeps int) {
			t.Helper()
			for range sweeps {
				claimed := s.swept(t, "b")
				if want -= len(claimed); len(claimed) > store.SweepLimit {
					t.Errorf("claimed %d in one sweep", len(claimed))
				}
			}
			if want != 0 {
				t.Errorf("behind %d: %d too few are claimed in %d sweeps", count.others, want, sweeps)
			}
		}
		save("third", 1, ids[:count.others])
		save("second", 2, ids[count.others+1:])
		sweeps := (count.others + count.own + store.SweepLimit - 1) / store.SweepLimit
		claim(count.own, sweeps)
		s.doing(t, "c", store.Renew)
		save("second", 0, ids[count.others:count.others+1])
		claim(1, sweeps+1)
	}
}

// TestAppPrefixes: a record holds only the beginning of an App ID, so the beginnings of one
// service's App IDs must differ.
func TestAppPrefixes(t *testing.T) {
	t.Parallel()
	first, second := "0123456789abcdef0123456789abcdef", "01234567ffffffffffffffffffffffff"
	_, err := New(Config{Apps: []string{first, first, second}, URL: "redis://127.0.0.1:1", Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), second) || !strings.Contains(err.Error(), "--redis-prefix") {
		t.Errorf("%v", err)
	}
}

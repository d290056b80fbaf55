package redis

import (
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/store/storetest"
	"refresher/test/redistest"
)

// opener opens stores on one server, each under its own prefix.
func opener(url string) storetest.Open {
	return func(t testing.TB, now func() time.Time) storetest.Store {
		s := open(t, url, func(c *Config) { c.Prefix, c.now = rand.Text(), now })
		s.keptForLong(t.Context())
		return s
	}
}

// TestConformance tests one server; TestCluster tests a cluster.
func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Conformance(t, opener(redistest.Start(t).UnixURL()))
}

// TestModel uses the embedded store as the oracle.
func TestModel(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).UnixURL()
	shared, err := New(Config{Apps: storetest.Apps, URL: url, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	must(t, err)
	t.Cleanup(func() { _ = shared.Close() })
	storetest.Model(t, func(t testing.TB, now func() time.Time) storetest.Store {
		// All histories share one client; only the keys and the clock are new for each
		// history.
		s := newStore(shared.apps, &connection{
			client: shared.client, keys: newKeys(rand.Text()), logger: shared.logger, metrics: shared.metrics,
			now: now, named: make(map[string]struct{}),
		})
		(&harness{Store: s}).keptForLong(t.Context())
		return s
	})
}

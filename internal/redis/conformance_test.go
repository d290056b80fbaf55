package redis

import (
	"crypto/rand"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/store/storetest"
	"refresher/test/redistest"
)

// acl holds the permissions of the nodes' Redis user with the prefix refresher, read from
// docs/operate/redis.md.
var acl = func() string {
	page, err := os.ReadFile("../../docs/operate/redis.md")
	if err != nil {
		panic(err)
	}
	return string(regexp.MustCompile(`(?m)^user refresher on >\S+ (.*)$`).FindSubmatch(page)[1])
}()

// limited makes a Redis user with the permissions `allowed`, and returns the URL of that user.
func limited(url, allowed string, servers ...*redistest.Server) string {
	for _, server := range servers {
		server.Do(append([]string{"ACL", "SETUSER", "limited", "reset", "on", ">secret"}, strings.Fields(allowed)...)...)
	}
	return strings.Replace(url, "://", "://limited:secret@", 1)
}

// conforms runs the conformance suite as a user who has only the documented permissions. Each
// store has its own prefix.
func conforms(t *testing.T, url, allowed string, servers ...*redistest.Server) {
	url = limited(url, strings.ReplaceAll(allowed, "refresher", "*"), servers...)
	storetest.Conformance(t, func(t testing.TB, now func() time.Time) storetest.Store {
		s := open(t, url, func(c *Config) { c.Prefix, c.now = rand.Text(), now })
		s.keptForLong(t.Context())
		t.Cleanup(func() {
			if warnings := s.log.lines("WARN"); len(warnings) > 0 {
				t.Error(warnings)
			}
		})
		return s
	})
	for _, server := range servers {
		if denied := server.Do("ACL", "LOG"); denied != "" {
			t.Errorf("denied:\n%s", denied)
		}
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	conforms(t, server.UnixURL(), acl, server)
}

// TestModel uses the embedded store as the oracle. All histories share one client; only the
// keys and the clock are new for each history.
func TestModel(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).UnixURL()
	shared, err := New(Config{Apps: storetest.Apps, URL: url, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	must(t, err)
	t.Cleanup(func() { _ = shared.Close() })
	storetest.Model(t, func(t testing.TB, now func() time.Time) storetest.Store {
		s := newStore(shared.apps, &connection{
			client: shared.client, keys: newKeys(rand.Text()), logger: shared.logger, metrics: shared.metrics,
			now: now, named: make(map[string]struct{}),
		})
		(&harness{Store: s}).keptForLong(t.Context())
		return s
	})
}

func TestACLIsMinimal(t *testing.T) {
	t.Parallel()
	used := []string{"+eval", "+evalsha", "+expireat", "+get", "+hscan", "+info", "+ping", "+set", "+subscribe", "+zrangebyscore", "+zscan"}
	for _, source := range []string{fenceSource, saveSource, acquireSource, wishSource, claimSource, leaseSource, revokeSource} {
		for _, call := range regexp.MustCompile(`call\('([A-Z]+)'`).FindAllStringSubmatch(source, -1) {
			used = append(used, "+"+strings.ToLower(call[1]))
		}
	}
	slices.Sort(used)
	used = slices.Compact(used)
	granted := slices.DeleteFunc(strings.Fields(acl), func(one string) bool { return one[0] != '+' })
	slices.Sort(granted)
	if !slices.Equal(used, granted) {
		t.Errorf("used:    %s\ngranted: %s", used, granted)
	}
}

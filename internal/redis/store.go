package redis

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

// Config configures a Store. All fields are required unless they say otherwise.
type Config struct {
	// Apps are the App IDs that this node serves. The node claims only overdue sessions of
	// these App IDs, since it cannot renew others. Empty means every App ID.
	Apps []string
	// URL is the address of Redis, in one of the forms that urlForms lists.
	URL string
	// CAFile is a PEM file with the certificates of the authorities that sign the servers'
	// certificates. Empty means the system's authorities.
	CAFile string
	// CertFile and KeyFile are PEM files with the client certificate, and with its key, for
	// TLS servers that require one. Both are empty if there is none.
	CertFile, KeyFile string
	// Prefix is part of the name of every key and channel. Services that share a server
	// need different prefixes. Empty means "refresher".
	Prefix string
	Logger *slog.Logger

	Registerer prometheus.Registerer

	// now is the store's clock in tests. Nil means the server's clock.
	now func() time.Time
}

// Store keeps sessions and revocations in Redis. It is safe for concurrent use.
type Store struct {
	*connection
	revocations

	apps   map[string]string // App IDs by their prefixes
	served string            // the App IDs' prefixes, as an argument of the claim script

	mu              sync.Mutex
	lastGenerations [store.Shards]string // generations of the shards' data, as the last sweep read them; guarded by mu
	past            [store.Shards]int    // number of overdue sessions that the next sweep skips, by shard; guarded by mu
	nodes           map[string]string    // full names of nodes by store.NodeID, as last read; guarded by mu
}

// connection holds the connections to Redis, the names of the keys, the log and the metrics.
type connection struct {
	client  goredis.UniversalClient
	keys    *keys
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time
	silence time.Duration

	namedMu sync.Mutex
	named   map[string]struct{} // names of the unreadable records that were logged; guarded by namedMu
}

// New returns a Store. It does not connect yet, so Redis may be down.
func New(c Config) (*Store, error) {
	if c.Prefix == "" {
		c.Prefix = "refresher"
	}
	if err := checkPrefix(c.Prefix); err != nil {
		return nil, err
	}
	apps, err := appsByPrefix(c.Apps)
	if err != nil {
		return nil, err
	}
	client, err := dial(&c)
	if err != nil {
		return nil, err
	}
	client.AddHook(again{})
	client.AddHook(tracing{})
	s := newStore(apps, &connection{
		client: client, keys: newKeys(c.Prefix), logger: c.Logger, metrics: newMetrics(c.Registerer),
		now: c.now, silence: watchSilence, named: make(map[string]struct{}),
	})
	s.served = wordList(slices.Sorted(maps.Keys(apps)))
	return s, nil
}

func newStore(apps map[string]string, c *connection) *Store {
	return &Store{connection: c, revocations: revocations{c}, apps: apps}
}

// wordList formats a set of words for the claim script, with a space before and after each
// word.
func wordList(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return " " + strings.Join(words, " ") + " "
}

// appsByPrefix returns the App IDs by their appPrefix. It returns an error if two App IDs
// have the same prefix.
func appsByPrefix(apps []string) (map[string]string, error) {
	full := make(map[string]string, len(apps))
	for _, app := range apps {
		if other, taken := full[appPrefix(app)]; taken && other != app {
			return nil, fmt.Errorf("redis: the App IDs %s and %s begin with the same %d characters, which identify a project in Redis; serve these projects by separate services, each with its own --redis-prefix", other, app, appPrefixLength)
		}
		full[appPrefix(app)] = app
	}
	return full, nil
}

// Close closes the connections.
func (s *connection) Close() error { return s.client.Close() }

// clock returns the argument `now` of the lease and revoke scripts: a test's clock in Unix
// ms, or "" for the server's clock.
func (s *connection) clock() string {
	if s.now == nil {
		return ""
	}
	return strconv.FormatInt(s.now().UnixMilli(), 10)
}

// time returns this node's time. It is an argument of the scripts that write tombstones and
// due times, since nodes write both by their own clocks.
func (s *connection) time() time.Time {
	if s.now == nil {
		return time.Now()
	}
	return s.now()
}

// unpack is like the function unpack, but replaces the prefix of the App ID and the node's id
// by the full names. It logs an unreadable record, and then returns store.ErrUnreadable.
func (s *Store) unpack(id string, fields map[string]string) (store.Record, error) {
	r, err := unpack(id, fields)
	if err != nil {
		return r, s.unreadable(id, err)
	}
	if app, ok := s.apps[r.App]; ok {
		r.App = app
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if node, ok := s.nodes[r.Node]; ok {
		r.Node = node
	}
	return r, nil
}

var errNoRecord = errors.New("the key does not hold a record")

// maxNamed limits the number of unreadable records that are logged. The Store keeps their
// names, so that it logs each record once.
const maxNamed = 10_000

// unreadable logs, once for each session, a record that this release cannot read. It
// returns store.ErrUnreadable.
func (s *Store) unreadable(id string, err error) error {
	if s.firstTime(id) {
		s.logger.Error("a session's record cannot be read; it stays unchanged, and the call goes on", "session", id, "error", err)
	}
	return store.ErrUnreadable
}

// firstTime reports whether it is called with this name for the first time. After maxNamed
// names, it returns false for every name.
func (s *connection) firstTime(name string) bool {
	s.namedMu.Lock()
	defer s.namedMu.Unlock()
	if _, known := s.named[name]; known || len(s.named) >= maxNamed {
		return false
	}
	s.named[name] = struct{}{}
	return true
}

// word returns the string at index i of a Redis reply, or "" if the reply has no string
// there.
func word(reply []any, i int) string {
	if i >= len(reply) {
		return ""
	}
	text, _ := reply[i].(string)
	return text
}

// pairs turns a reply's list of fields and values into a map.
func pairs(reply any) map[string]string {
	list, _ := reply.([]any)
	fields := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		fields[word(list, i)] = word(list, i+1)
	}
	return fields
}

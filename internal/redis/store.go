package redis

import (
	"context"
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

	"refresher/internal/session"
	"refresher/internal/store"
)

// Config is what a Store needs. All fields are required unless they say
// otherwise.
type Config struct {
	// Apps are the App IDs whose sessions this node sees to. Those of others
	// that are overdue under the same prefix are left to nodes that serve
	// them: claimed here, they would be nobody's. Empty: all are.
	Apps []string
	// URL says where Redis is, see Dial.
	URL string
	// CAFile holds the certificates, in PEM, that a TLS server's must be
	// signed by. Empty means the system's.
	CAFile string
	// CertFile and KeyFile hold the certificate, in PEM, that is shown to TLS
	// servers that ask for one, and its key. Empty: none.
	CertFile, KeyFile string
	// Prefix is what all keys begin with. Services that share a server need
	// different ones. Empty means "refresher".
	Prefix string
	Logger *slog.Logger

	Registerer prometheus.Registerer

	// now is the store's clock, for tests; nil means the server's.
	now func() time.Time
}

// Store keeps sessions and orders in Redis. It is safe for concurrent use.
type Store struct {
	apps    map[string]string // App IDs by their prefixes
	served  string            // the prefixes, as the claim script wants them
	client  goredis.UniversalClient
	keys    *keys
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time
	silence time.Duration

	mu              sync.Mutex
	lastGenerations [store.Shards]string // of the last sweep; guarded by mu
	past            [store.Shards]int    // overdue sessions that the next sweep passes over; guarded by mu
	nodes           map[string]string    // names of nodes by what records hold of them, as last read; guarded by mu
	named           map[string]struct{}  // sessions whose unreadable record was logged; guarded by mu
}

// saveBatch is how many records one script call writes: a millisecond or two of
// Redis, in which nobody else is served.
const saveBatch = 128

// New makes a Store. It does not wait for Redis to be there.
func New(c Config) (*Store, error) {
	if c.Logger == nil || c.Registerer == nil {
		return nil, errors.New("redis: Logger and Registerer are required")
	}
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
	return &Store{
		apps: apps, served: wordList(slices.Sorted(maps.Keys(apps))),
		client: client, keys: newKeys(c.Prefix), logger: c.Logger, metrics: newMetrics(c.Registerer),
		now: c.now, silence: watchSilence, named: make(map[string]struct{}),
	}, nil
}

// wordList is how the claim script takes a set of words: a space before and after each.
func wordList(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return " " + strings.Join(words, " ") + " "
}

// appsByPrefix has the App IDs by what a record holds of them.
func appsByPrefix(apps []string) (map[string]string, error) {
	full := make(map[string]string, len(apps))
	for _, app := range apps {
		if other, taken := full[appPrefix(app)]; taken && other != app {
			return nil, fmt.Errorf("redis: the App IDs %s and %s begin with the same %d characters, by which sessions in Redis are told apart: serve them by services with a --redis-prefix each", other, app, appPrefixLength)
		}
		full[appPrefix(app)] = app
	}
	return full, nil
}

// Close lets go of the connections.
func (s *Store) Close() error { return s.client.Close() }

// clock is the lease script's now argument.
func (s *Store) clock() string {
	if s.now == nil {
		return ""
	}
	return strconv.FormatInt(s.now().UnixMilli(), 10)
}

// time is this node's clock. Scripts are told the time where they would need it for
// nothing but tombstones and due times, which nodes write by their own clocks.
func (s *Store) time() time.Time {
	if s.now == nil {
		return time.Now()
	}
	return s.now()
}

// Acquire makes g.Node the owner of a session. The due time of the record that it returns
// is not set. The error is a *session.EndedError when the session was ended, or the key is
// not its newest; store.ErrUnreadable when its record cannot be read.
func (s *Store) Acquire(ctx context.Context, g store.AcquireRequest) (held store.Acquired, err error) {
	defer s.metrics.observe("acquire", time.Now(), &err)
	shard := store.ShardOf(g.Session)
	letter := letterDetached
	if g.Attach {
		letter = letterAttached
	}
	now := s.time()
	reply, err := acquireScript.Run(ctx, s.client,
		[]string{s.keys.session(shard, g.Session), s.keys.due[shard]},
		s.keys.channel, g.Session, store.NodeID(g.Node), g.Epoch, letter, now.Unix(), now.Add(store.Lease).UnixMilli(),
	).Slice()
	if err != nil {
		return held, fmt.Errorf("acquire: %w", err)
	}
	switch answer := word(reply, 0); answer {
	case "new":
		return store.Acquired{Epoch: g.Epoch + 1}, nil
	case "unreadable":
		return held, s.unreadable(g.Session, errNoRecord)
	case "ended", "superseded":
		var r store.Record
		if err := unpackState(word(reply, 1), &r); err != nil {
			return held, s.unreadable(g.Session, err)
		}
		if answer == "superseded" {
			r.Reason = session.EndSuperseded
		}
		return held, &session.EndedError{Ending: r.Ending()}
	}
	if len(reply) < 2 {
		return held, fmt.Errorf("acquire: unexpected answer %q", reply)
	}
	fields := pairs(reply[1])
	fields[fieldDue] = "0"
	if held.Record, err = s.unpack(g.Session, fields); err != nil {
		return store.Acquired{}, err
	}
	held.Known = true
	held.Epoch, err = strconv.ParseUint(word(reply, 0), 10, 64)
	return held, err
}

// unpack reads a whole hash, with its fieldDue. The error is store.ErrUnreadable.
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

var errNoRecord = errors.New("what stands there is not a record")

// maxNamed bounds how many unreadable records are remembered as logged.
const maxNamed = 10_000

// unreadable logs, once for each session, a record that this release cannot read. It
// returns store.ErrUnreadable.
func (s *Store) unreadable(id string, err error) error {
	s.mu.Lock()
	_, known := s.named[id]
	if len(s.named) >= maxNamed {
		clear(s.named)
	}
	s.named[id] = struct{}{}
	s.mu.Unlock()
	if !known {
		s.logger.Error("a session's record cannot be read; it is left alone, its calls go on", "session", id, "error", err)
	}
	return store.ErrUnreadable
}

// Save writes records, each by itself, and tells what became of each. With an
// error, which says why, some are store.Unsaved.
func (s *Store) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes := make([]store.Outcome, len(records))
	var first, rest []int // by what is written: all of a record, or what changes
	for i := range records {
		if records[i].Version <= 1 || records[i].HasEnded() { // ends are for the script to look at
			first = append(first, i)
		} else {
			rest = append(rest, i)
		}
	}
	missing, err := s.save(ctx, records, outcomes, first, rest)
	if len(missing) > 0 {
		var again error
		_, again = s.save(ctx, records, outcomes, missing, nil)
		err = errors.Join(err, again)
	}
	return outcomes, err
}

// save writes the records at the indices whole, with their grants, and at the
// indices parts only what changes. It returns the indices of those of the latter
// whose hash is not there.
func (s *Store) save(ctx context.Context, records []store.Record, outcomes []store.Outcome, whole, parts []int) (missing []int, err error) {
	defer s.metrics.observe("save", time.Now(), &err)
	var calls []call
	for _, kind := range []struct {
		indices []int
		whole   bool
	}{{whole, true}, {parts, false}} {
		var shards [store.Shards][]int
		for _, i := range kind.indices {
			shard := store.ShardOf(records[i].Session)
			shards[shard] = append(shards[shard], i)
		}
		for shard, indices := range shards {
			for len(indices) > 0 {
				n := min(len(indices), saveBatch)
				calls = append(calls, s.saveCall(shard, records, indices[:n], kind.whole))
				indices = indices[n:]
			}
		}
	}
	err = s.run(ctx, saveScript, calls)
	for _, c := range calls {
		words, _ := c.result.Val().([]any)
		for at, i := range c.indices {
			action := word(words, at) // nothing, if there was no answer: err says why
			if words == nil {
				action, _ = c.result.Val().(string) // one for all
			}
			if action == "missing" {
				missing = append(missing, i)
				continue
			}
			outcomes[i] = s.outcome(records[i].Session, action)
		}
	}
	return missing, err
}

// saveCall is one call of the save script.
func (s *Store) saveCall(shard int, records []store.Record, indices []int, whole bool) call {
	c := call{indices: indices, keys: make([]string, 2, len(indices)+2), args: make([]any, 4, 4+len(indices)*3)}
	c.keys[0], c.keys[1] = s.keys.due[shard], s.keys.ids[shard]
	c.args[0], c.args[1], c.args[2], c.args[3] = s.keys.channel, s.time().Unix(), len(s.keys.sessions[shard])+1, 0
	if whole {
		c.args[3] = 1
	}
	for _, i := range indices {
		r := &records[i]
		c.keys = append(c.keys, s.keys.session(shard, r.Session))
		at := int64(r.Due)
		if r.IsTombstone() {
			at = int64(r.TombstoneUntil())
		}
		c.args = append(c.args, packFence(r), packState(r), at)
		if whole {
			fields := grant(r)
			c.args = append(append(c.args, len(fields)), fields...)
		}
	}
	return c
}

// outcome reads one word of the save script's answer about a session.
func (s *Store) outcome(id, text string) store.Outcome {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "done":
		return store.Outcome{Action: store.Done}
	case "wish":
		return wishOutcome(rest)
	case "close":
		return store.Outcome{Action: store.CloseSuperseded}
	case "release":
		return store.Outcome{Action: store.Release}
	case "raise":
		if epoch, err := strconv.ParseUint(rest, 10, 64); err == nil {
			return store.Outcome{Action: store.RaiseEpoch, Epoch: epoch}
		}
	case "end", "finish":
		var r store.Record
		if err := unpackState(rest, &r); err != nil {
			_ = s.unreadable(id, err)
			return store.Outcome{Action: store.LeaveAlone}
		}
		if word == "finish" {
			return store.Outcome{Action: store.FinishEnd, Ending: r.Ending()}
		}
		return store.Outcome{Action: store.EndSession, Ending: r.Ending()}
	case "unreadable":
		_ = s.unreadable(id, errNoRecord)
		return store.Outcome{Action: store.LeaveAlone}
	}
	return store.Outcome{}
}

// wishOutcome is of a record that was written beside a newer wish: its role and version.
func wishOutcome(text string) store.Outcome {
	o := store.Outcome{Action: store.Done}
	letter, version, _ := strings.Cut(text, " ")
	if strings.EqualFold(letter, rolePublisher) {
		o.Wish.Role = session.Publisher
	}
	if n, err := strconv.ParseInt(version, 10, 64); err == nil {
		o.Wish.Version = session.UnixMilli(n)
	}
	return o
}

// word is the string at index i of a reply, or nothing.
func word(reply []any, i int) string {
	if i >= len(reply) {
		return ""
	}
	text, _ := reply[i].(string)
	return text
}

// pairs is a reply's list of fields and values.
func pairs(reply any) map[string]string {
	list, _ := reply.([]any)
	fields := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		fields[word(list, i)] = word(list, i+1)
	}
	return fields
}

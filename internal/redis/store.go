package redis

import (
	"context"
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"log/slog"
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
	apps    string // as the claim script wants them
	client  goredis.UniversalClient
	keys    *keys
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time
	silence time.Duration

	mu          sync.Mutex
	generations [store.Shards]string // as the last sweep found them; guarded by mu
	past        [store.Shards]int    // where the next sweep begins, see sweeping; guarded by mu
	named       map[string]struct{}  // sessions whose unreadable record was logged; guarded by mu
}

// saveBatch is how many records one script call writes: a millisecond or two of
// Redis, in which nobody else is served.
const saveBatch = 128

var (
	//go:embed scripts/save.lua
	saveSource string
	//go:embed scripts/acquire.lua
	acquireSource string
	//go:embed scripts/sweep.lua
	sweepSource string
	//go:embed scripts/claim.lua
	claimSource string
	//go:embed scripts/give.lua
	giveSource string
	//go:embed scripts/version.lua
	versionSource string
	//go:embed scripts/report.lua
	reportSource string
	//go:embed scripts/lease.lua
	leaseSource string

	saveScript    = goredis.NewScript(saveSource)
	acquireScript = goredis.NewScript(acquireSource)
	sweepScript   = goredis.NewScript(sweepSource)
	claimScript   = goredis.NewScript(claimSource)
	giveScript    = goredis.NewScript(giveSource)
	versionScript = goredis.NewScript(versionSource)
	reportScript  = goredis.NewScript(reportSource)
	leaseScript   = goredis.NewScript(leaseSource)
)

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
	client, err := dial(&c)
	if err != nil {
		return nil, err
	}
	client.AddHook(again{})
	client.AddHook(tracing{})
	return &Store{
		apps:   appList(c.Apps),
		client: client, keys: newKeys(c.Prefix), logger: c.Logger, metrics: newMetrics(c.Registerer),
		now: c.now, silence: watchSilence, named: make(map[string]struct{}),
	}, nil
}

// appList is the claim script's argument of App IDs, which have no spaces.
func appList(apps []string) string {
	if len(apps) == 0 {
		return ""
	}
	return " " + strings.Join(apps, " ") + " "
}

// Close lets go of the connections.
func (s *Store) Close() error { return s.client.Close() }

// clock is the scripts' now argument.
func (s *Store) clock() string {
	if s.now == nil {
		return ""
	}
	return strconv.FormatInt(s.now().UnixMilli(), 10)
}

// Acquire makes g.Node the owner of a session. The error is a *session.EndedError
// when the session was ended, or the key is not its newest; store.ErrForeign when
// a newer release wrote it.
func (s *Store) Acquire(ctx context.Context, g store.AcquireRequest) (held store.Acquired, err error) {
	defer s.metrics.observe("acquire", time.Now(), &err)
	shard := store.ShardOf(g.Session)
	letter := letterDetached
	if g.Attach {
		letter = letterAttached
	}
	reply, err := acquireScript.Run(ctx, s.client,
		[]string{s.keys.session(shard, g.Session), s.keys.due[shard]},
		store.Format, s.keys.channel, g.Session, g.Node, g.Epoch, letter, s.clock(), store.Lease.Milliseconds(),
	).Slice()
	if err != nil {
		return held, fmt.Errorf("acquire: %w", err)
	}
	switch answer := word(reply, 0); answer {
	case "new":
		return store.Acquired{Epoch: g.Epoch + 1}, nil
	case "foreign":
		return held, store.ErrUnreadable
	case "ended", "superseded":
		var r store.Record
		if _, err := unpackState(word(reply, 1), &r); err != nil {
			s.unreadable(g.Session, err)
			return held, store.ErrUnreadable
		}
		if answer == "superseded" {
			r.Reason = session.EndSuperseded
		}
		return held, &session.EndedError{Ending: r.Ending()}
	}
	if len(reply) < 3 {
		return held, fmt.Errorf("acquire: unexpected answer %q", reply)
	}
	if held.Epoch, err = strconv.ParseUint(word(reply, 1), 10, 64); err != nil {
		return held, fmt.Errorf("acquire: %w", err)
	}
	r, err := unpack(g.Session, pairs(reply[2]))
	if err != nil {
		s.unreadable(g.Session, err) // the node is going to write it anew
		return held, nil
	}
	held.Record, held.Known = r, true
	return held, nil
}

// maxNamed bounds how many unreadable records are remembered as logged.
const maxNamed = 10_000

// unreadable logs, once for each session, a record that this release should be able
// to read.
func (s *Store) unreadable(id string, err error) {
	s.mu.Lock()
	_, known := s.named[id]
	if len(s.named) >= maxNamed {
		clear(s.named)
	}
	s.named[id] = struct{}{}
	s.mu.Unlock()
	if known {
		return
	}
	s.logger.Error("a session's record cannot be read", "session", id, "error", err)
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
			outcomes[i] = outcome(action)
		}
	}
	return missing, err
}

// saveCall is one call of the save script.
func (s *Store) saveCall(shard int, records []store.Record, indices []int, whole bool) call {
	c := call{indices: indices, keys: make([]string, 2, len(indices)+2), args: make([]any, 5, 5+len(indices)*3)}
	c.keys[0], c.keys[1] = s.keys.due[shard], s.keys.ids[shard]
	c.args[0], c.args[1], c.args[2] = store.Format, s.keys.channel, s.clock()
	c.args[3], c.args[4] = len(s.keys.sessions[shard])+1, 0
	if whole {
		c.args[4] = 1
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

// outcome reads one word of the save script's answer.
func outcome(text string) store.Outcome {
	action, state, _ := strings.Cut(text, " ")
	switch action {
	case "ok":
		return store.Outcome{Action: store.Done}
	case "superseded":
		return store.Outcome{Action: store.CloseSuperseded}
	case "moved":
		return store.Outcome{Action: store.Release}
	case "foreign":
		return store.Outcome{Action: store.LeaveAlone}
	case "behind":
		if epoch, err := strconv.ParseUint(state, 10, 64); err == nil {
			return store.Outcome{Action: store.RaiseEpoch, Epoch: epoch}
		}
	case "dead", "finish":
		var r store.Record
		if _, err := unpackState(state, &r); err != nil {
			return store.Outcome{Action: store.LeaveAlone} // it must be left alone all the same
		}
		if action == "finish" {
			return store.Outcome{Action: store.FinishEnd, Ending: r.Ending()}
		}
		return store.Outcome{Action: store.EndSession, Ending: r.Ending()}
	}
	return store.Outcome{}
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

package redis

import (
	"context"
	"crypto/rand"
	_ "embed" // for the scripts
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Config is what a Store needs. All fields are required unless they say
// otherwise.
type Config struct {
	// URL says where Redis is, see Dial.
	URL string
	// CAFile holds the certificates, in PEM, that a TLS server's must be
	// signed by. Empty means the system's.
	CAFile string
	// Prefix is what all keys begin with. Services that share a server need
	// different ones. Empty means "refresher".
	Prefix string
	Logger *slog.Logger

	Registerer prometheus.Registerer

	// now is the store's clock, for tests; nil means the server's.
	now func() time.Time
}

// Store keeps sessions in Redis. It is safe for concurrent use.
type Store struct {
	client  goredis.UniversalClient
	keys    *keys
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time
	life    string // what this process names a shard's life, if it has no name

	servers [store.Shards]string // generations seen last; Sweep's own
}

// saveBatch is how many records one script call writes: some 0.5 ms of Redis, in
// which nobody else is served.
const saveBatch = 128

var (
	//go:embed scripts/save.lua
	saveSource string
	//go:embed scripts/grip.lua
	gripSource string
	//go:embed scripts/sweep.lua
	sweepSource string
	//go:embed scripts/claim.lua
	claimSource string

	saveScript  = goredis.NewScript(saveSource)
	gripScript  = goredis.NewScript(gripSource)
	sweepScript = goredis.NewScript(sweepSource)
	claimScript = goredis.NewScript(claimSource)
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
	client, err := dial(c.URL, c.CAFile)
	if err != nil {
		return nil, err
	}
	return &Store{
		client: client, keys: newKeys(c.Prefix), logger: c.Logger, metrics: newMetrics(c.Registerer),
		now: c.now, life: rand.Text(),
	}, nil
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

// Grip makes g.Node the owner of a session. The error is a *session.EndedError
// when the session was ended, or the key is not its newest; store.ErrForeign when
// a newer release wrote it.
func (s *Store) Grip(ctx context.Context, g store.Grip) (held store.Held, err error) {
	defer s.metrics.observe("grip", time.Now(), &err)
	shard := store.ShardOf(g.Session)
	letter := letterDetached
	if g.Attach {
		letter = letterAttached
	}
	reply, err := gripScript.Run(ctx, s.client,
		[]string{s.keys.session(shard, g.Session), s.keys.due[shard]},
		store.Format, s.keys.channel, g.Session, g.Node, g.Epoch, letter, s.clock(), store.Lease.Milliseconds(),
	).Slice()
	if err != nil {
		return held, fmt.Errorf("grip: %w", err)
	}
	switch word(reply, 0) {
	case "new":
		return store.Held{Epoch: g.Epoch + 1}, nil
	case "foreign":
		return held, store.ErrForeign
	case "ended":
		var r store.Record
		if err := unpackState(word(reply, 1), &r); err != nil {
			return held, fmt.Errorf("grip: %w", err)
		}
		return held, &session.EndedError{Ending: r.Ending()}
	case "superseded":
		var r store.Record
		if err := unpackState(word(reply, 1), &r); err != nil {
			return held, fmt.Errorf("grip: %w", err)
		}
		return held, &session.EndedError{Ending: session.Ending{Reason: session.EndSuperseded, AccessEndsAt: r.ExpiresAt}}
	}
	if len(reply) < 3 {
		return held, fmt.Errorf("grip: unexpected answer %q", reply)
	}
	held.Known = true
	if held.Epoch, err = strconv.ParseUint(word(reply, 1), 10, 64); err != nil {
		return held, fmt.Errorf("grip: %w", err)
	}
	if held.Record, err = unpack(g.Session, pairs(reply[2])); err != nil {
		return held, fmt.Errorf("grip: %w", err)
	}
	return held, nil
}

// Save writes records, each by itself, and tells what became of each. With an
// error, which says why, some are store.Unsaved.
func (s *Store) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes := make([]store.Outcome, len(records))
	var first, rest []int // by what is written: all of a record, or what changes
	for i := range records {
		if records[i].Rev <= 1 {
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
		words, callErr := c.result.Slice()
		if callErr != nil || len(words) != len(c.indices) {
			continue // Unsaved; err says why
		}
		for at, i := range c.indices {
			if word(words, at) == "missing" {
				missing = append(missing, i)
				continue
			}
			outcomes[i] = outcome(word(words, at))
		}
	}
	return missing, err
}

// saveCall is one call of the save script.
func (s *Store) saveCall(shard int, records []store.Record, indices []int, whole bool) call {
	c := call{indices: indices, keys: make([]string, 1, len(indices)+1), args: make([]any, 3, 3+len(indices)*9)}
	c.keys[0] = s.keys.due[shard]
	c.args[0], c.args[1], c.args[2] = store.Format, s.keys.channel, s.clock()
	for _, i := range indices {
		r := &records[i]
		c.keys = append(c.keys, s.keys.session(shard, r.Session))
		at := r.DueMs
		if r.Buried() {
			at = r.Forget()
		}
		var fields []any
		if whole {
			fields = grant(r)
		}
		c.args = append(c.args, r.Session, r.Node, r.Epoch, r.Proven, r.Rev, letter(r), packState(r), at, len(fields))
		c.args = append(c.args, fields...)
	}
	return c
}

// outcome reads one word of the save script's answer.
func outcome(text string) store.Outcome {
	verdict, state, _ := strings.Cut(text, " ")
	switch verdict {
	case "ok":
		return store.Outcome{Verdict: store.Saved}
	case "superseded":
		return store.Outcome{Verdict: store.Superseded}
	case "moved":
		return store.Outcome{Verdict: store.Moved}
	case "foreign":
		return store.Outcome{Verdict: store.Foreign}
	case "dead":
		var r store.Record
		if unpackState(state, &r) == nil {
			return store.Outcome{Verdict: store.Dead, Ending: r.Ending()}
		}
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

package cluster

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Store keeps what must outlive this node. Its methods are safe for concurrent use; see
// package store for what they mean.
type Store interface {
	// Acquire makes a node the owner of a session whose resume key a client presented. A
	// *session.EndedError says that the key is no good any more; any other error that the
	// store cannot tell.
	Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error)
	// Save writes records, each by itself, by the rule of store.Resolve. There is an outcome
	// for each, also with an error, which says why some are Retry.
	Save(ctx context.Context, records []store.Record) ([]store.Outcome, error)
	// Sweep renews the node's lease, and hands it what is overdue and whose owner is gone;
	// or only some of that, see store.Doing. The error says that the lease was not renewed:
	// nothing is handed over then.
	Sweep(ctx context.Context, node string, do store.Doing) ([store.Shards]store.Swept, error)
	// Watch calls notice for each session that another node takes from this one, until ctx is
	// done or the subscription breaks. It calls connected when it has subscribed: sessions
	// that were taken before that may have been missed.
	Watch(ctx context.Context, node string, connected func(), notice func(id string)) error
}

// Records reads a session's record from the store, and writes operators' wishes into it. It
// is safe for concurrent use.
type Records interface {
	store.Getter
	// Wish writes a wish into a session's record and notifies the owner. It returns the
	// record as it stands afterwards. store.ErrNoSession: no such session is open.
	Wish(ctx context.Context, w store.Wish) (store.Record, error)
}

// Node has the sessions of this node. Its methods are safe for concurrent use.
type Node interface {
	// Adopt takes over a session whose owner is gone.
	Adopt(r *store.Record)
	// SaveAgain has the record of a session enqueued, whether or not it has changed, and
	// SaveAllAgain those of all open sessions of some shards.
	SaveAgain(id string)
	SaveAllAgain(shards *store.ShardSet)
	// Find returns the key of an open session of a project, or false if it is not here.
	Find(app, id string) (session.Key, bool)
	// CarryOut carries an operator's wish out. asked is the result so far. The channel gives
	// the result once nobody else holds the session; it is closed without one if the session
	// is not here any more, or not the node's own by the record.
	CarryOut(w store.Wish, asked store.WishResult) <-chan store.WishResult
}

// Config is what a Cluster needs.
type Config struct {
	Store   Store
	Records Records
	// Node is the name of this node in the store, which no other process has or had.
	Node       string
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Cluster is what this node shares with others. All methods are safe for concurrent use.
type Cluster struct {
	config  Config
	began   time.Time     // where the monotonic clock begins
	node    Node          // set by Run before running is closed
	running chan struct{} // closed by Run
	wishes  *prometheus.CounterVec

	pending  writeBehind
	outage   outage
	answers  sync.WaitGroup // answers of the store that may have a client written to
	slots    chan struct{}  // one for each request to acquire a session that is under way
	cooldown atomic.Int64   // the store is not asked for sessions before this, on the monotonic clock
}

const (
	// storeTimeout is how long the store may take for anything that nobody waits for.
	storeTimeout = 3 * time.Second
	// stopTimeout is how long the last records may take when the node stops.
	stopTimeout = 3 * time.Second
	// watchPause is how long watch waits before it subscribes to notices again.
	watchPause = time.Second
)

// New makes a Cluster. Records wait until Run is called.
func New(c Config) *Cluster {
	k := &Cluster{
		config: c, began: time.Now(), running: make(chan struct{}), slots: make(chan struct{}, acquiresAtOnce),
		pending: writeBehind{wake: make(chan struct{}, 1), records: make(map[store.Writer]pendingRecord)},
	}
	k.outage.kind.Store("")
	k.register(c.Registerer)
	return k
}

// Degraded reports that the store, or a part of it, cannot be reached, or that the node has
// no lease. Calls go on all the same.
func (c *Cluster) Degraded() bool { return c.outage.kind.Load() != "" }

// Run keeps the store in step with the sessions of node until ctx is done: it saves what has
// changed, renews the node's lease, takes over what is overdue, and follows what other nodes
// take away. At the end it saves what is left and gives the lease up, so that others may
// take over at once what is overdue.
func (c *Cluster) Run(ctx context.Context, node Node) {
	c.node = node
	close(c.running)
	var parts sync.WaitGroup
	parts.Go(func() { c.write(ctx) })
	parts.Go(func() { c.sweep(ctx) })
	parts.Go(func() { c.watch(ctx) })
	parts.Wait()
	c.writeLast()
}

// writeLast saves what is left when the node stops, and gives its lease up.
func (c *Cluster) writeLast() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for ctx.Err() == nil {
		c.flush()
		c.answers.Wait() // they may enqueue records
		at := c.pending.next()
		if at == never {
			_, _ = c.config.Store.Sweep(ctx, c.config.Node, store.Leave) // the lease runs out by itself
			return
		}
		_ = pause(ctx, at-c.now()) // what is over time is logged below
	}
	_, unwritten, _ := c.pending.state()
	c.config.Logger.Warn("stopping with sessions that the store was not told of; their clients' keys still open them", "unwritten", unwritten)
}

// watch follows what other nodes take away. The store's answer to the record of a session
// that was taken says what is to be done.
func (c *Cluster) watch(ctx context.Context) {
	first := true
	for {
		err := c.config.Store.Watch(ctx, c.config.Node, func() {
			if !first { // there was a gap, in which something may have been missed
				c.node.SaveAllAgain(store.AllShards())
			}
			first = false
		}, c.node.SaveAgain)
		if ctx.Err() != nil {
			return
		}
		if !c.Degraded() { // else it is known
			c.config.Logger.Warn("notices of what other nodes take are interrupted; trying again", "error", err)
		}
		if pause(ctx, watchPause) != nil {
			return
		}
	}
}

// now is the time on the monotonic clock.
func (c *Cluster) now() time.Duration { return time.Since(c.began) }

// never is a time that does not come.
const never = time.Duration(1<<63 - 1)

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

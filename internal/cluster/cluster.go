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
	// Acquire makes a node the owner of a session whose resume key a client presented. The
	// error is a *session.EndedError if the key is refused; any other error means that the
	// store could not answer.
	Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error)
	// Save writes records, each by itself, by the rule of store.Resolve. There is an outcome
	// for each, also with an error, which says why some are Retry.
	Save(ctx context.Context, records []store.Record) ([]store.Outcome, error)
	// Sweep renews the node's lease, and returns the overdue sessions whose owner's lease has
	// expired; or does only some of that, see store.Doing. On an error the lease was not
	// renewed, and no session is returned.
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
	Find(app, id string) (session.ResumeClaims, bool)
	// ApplyWish carries an operator's wish out. asked is the result so far. The channel gives
	// the result once the session's lock is free; it is closed without one if the session
	// is not here any more, or not the node's own by the record.
	ApplyWish(w store.Wish, asked store.WishResult) <-chan store.WishResult
}

// Config is what a Cluster needs. All fields are required.
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
	answers  sync.WaitGroup // goroutines that call Writer.Acknowledge
	slots    chan struct{}  // limits the concurrent requests to acquire a session
	cooldown atomic.Int64   // no session is acquired from the store before this, on the monotonic clock
}

const (
	// storeTimeout bounds a request to the store for which no client waits.
	storeTimeout = 3 * time.Second
	// stopTimeout bounds the saving of the last records when the node stops.
	stopTimeout = 3 * time.Second
	// watchPause is how long watch waits before it subscribes to notices again.
	watchPause = time.Second
)

// New makes a Cluster. Records wait until Run is called.
func New(c Config) *Cluster {
	k := &Cluster{
		config: c, began: time.Now(), running: make(chan struct{}), slots: make(chan struct{}, acquiresAtOnce),
		pending: writeBehind{
			wake: make(chan struct{}, 1), records: make(map[store.Writer]pendingRecord), allBy: never, alarm: never,
		},
	}
	k.outage.kind.Store("")
	k.register(c.Registerer)
	return k
}

// Degraded reports that the store, or a part of it, cannot be reached, or that the node has
// no lease. Calls go on all the same.
func (c *Cluster) Degraded() bool { return c.outage.kind.Load() != "" }

// Run keeps the store in step with the sessions of node until ctx is done: it saves changed
// records, renews the node's lease, adopts overdue sessions of dead nodes, and follows which
// sessions other nodes acquire. At the end it saves the remaining records and gives up the
// lease, so that other nodes need not wait for it to expire.
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

// writeLast saves the remaining records when the node stops, and gives up its lease.
func (c *Cluster) writeLast() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	c.answers.Wait() // they may enqueue records
	for ctx.Err() == nil {
		c.pending.makeAllDue()
		at := c.pending.next()
		if at == never {
			_, _ = c.config.Store.Sweep(ctx, c.config.Node, store.Leave) // the lease runs out by itself
			return
		}
		if pause(ctx, at-c.now()) != nil {
			break // the rest is logged below
		}
		c.flush()
		c.answers.Wait()
	}
	_, unwritten, _ := c.pending.state()
	c.config.Logger.Warn("stopping with sessions that the store was not told of; their clients' keys still open them", "unwritten", unwritten)
}

// watch receives the notices of sessions that other nodes have acquired. It saves the record
// of each again; the store's answer says what this node must do.
func (c *Cluster) watch(ctx context.Context) {
	first := true
	for {
		err := c.config.Store.Watch(ctx, c.config.Node, func() {
			if !first { // notices may have been lost while Watch was interrupted
				c.node.SaveAllAgain(store.AllShards())
			}
			first = false
		}, c.node.SaveAgain)
		if ctx.Err() != nil {
			return
		}
		if !c.Degraded() { // else an outage of the store was logged
			c.config.Logger.Warn("notices of what other nodes take are interrupted; trying again", "error", err)
		}
		if pause(ctx, watchPause) != nil {
			return
		}
	}
}

// now is the time on the monotonic clock.
func (c *Cluster) now() time.Duration { return time.Since(c.began) }

// never is a time that never comes.
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

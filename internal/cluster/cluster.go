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

// Store keeps the records and leases that must outlive this node. Package store describes
// the operations. They are safe for concurrent use.
type Store interface {
	// Acquire makes a node the owner of a session whose resume key a client presented. The
	// error is a *session.EndedError if the key is refused; any other error means that the
	// store could not answer.
	Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error)
	// Save writes records, each by itself, by the rule of store.Resolve. It returns an
	// outcome for each record. The error, if any, says why some outcomes are Retry.
	Save(ctx context.Context, records []store.Record) ([]store.Outcome, error)
	// Sweep renews the node's lease, and returns the overdue sessions whose owner's lease has
	// expired, or does a part of this, see store.Doing. On an error the lease was not renewed
	// and no session is returned.
	Sweep(ctx context.Context, node string, do store.Doing) ([store.Shards]store.Swept, error)
	// Watch calls notice for each session that another node acquires from this one, until ctx
	// is done or the subscription breaks. It calls connected when it has subscribed; notices
	// from before may have been missed.
	Watch(ctx context.Context, node string, connected func(), notice func(id string)) error
}

// Records reads a session's record from the store, and writes operators' wishes into it. It
// is safe for concurrent use.
type Records interface {
	store.Getter
	// Wish writes a wish into a session's record and notifies the owner. It returns the
	// changed record. The error is store.ErrNoSession if no such session is open.
	Wish(ctx context.Context, w store.Wish) (store.Record, error)
}

// Node is the engine: it keeps the sessions of this node. Its methods are safe for concurrent
// use.
type Node interface {
	// Adopt takes over a session whose owner is gone.
	Adopt(r *store.Record)
	// SaveAgain enqueues the record of a session even if it has not changed, and
	// SaveAllAgain the records of all open sessions of some shards.
	SaveAgain(id string)
	SaveAllAgain(shards *store.ShardSet)
	// Find returns the resume claims of an open session of a project, or false if it is not
	// on this node.
	Find(app, id string) (session.ResumeClaims, bool)
	// ApplyWish applies an operator's wish. asked is the result so far. The channel receives
	// the result once the session's lock is free. It is closed without a result if the
	// session is no longer on this node, or if another node owns it by the record.
	ApplyWish(w store.Wish, asked store.WishResult) <-chan store.WishResult
}

// Config configures a Cluster. All fields are required.
type Config struct {
	Store   Store
	Records Records
	// Node is the name of this node in the store. No other process ever has it.
	Node       string
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Cluster shares this node's sessions with the other nodes. All methods are safe for
// concurrent use.
type Cluster struct {
	config  Config
	began   time.Time     // zero of the monotonic clock
	node    Node          // set by Run before running is closed
	running chan struct{} // closed by Run
	wishes  *prometheus.CounterVec

	pending  writeBehind
	outage   outage
	answers  sync.WaitGroup // goroutines that call Writer.Acknowledge
	slots    chan struct{}  // limits the concurrent requests to acquire a session
	cooldown atomic.Int64   // Acquire asks the store again after this, on the monotonic clock
}

const (
	// storeTimeout bounds a request to the store that no client waits for.
	storeTimeout = 3 * time.Second
	// stopTimeout bounds the saving of the last records when the node stops.
	stopTimeout = 3 * time.Second
	// watchPause is how long watch waits before it subscribes to notices again.
	watchPause = time.Second
)

// New returns a Cluster. Records wait in the write-behind until Run is called.
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

// Degraded reports whether the store, or a part of it, cannot be reached, or the node has no
// lease. Sessions are renewed all the same.
func (c *Cluster) Degraded() bool { return c.outage.kind.Load() != "" }

// Run synchronises the store with the sessions of node until ctx is done: it saves changed
// records, renews the node's lease, adopts overdue sessions of dead nodes, and receives
// notices of sessions that other nodes acquire. At the end it saves the remaining records
// and ends the lease, so that other nodes need not wait until it expires.
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
	c.answers.Wait() // the writers may enqueue more records
	for ctx.Err() == nil {
		c.pending.makeAllDue()
		at := c.pending.next()
		if at == never {
			_, _ = c.config.Store.Sweep(ctx, c.config.Node, store.Leave) // on an error the lease expires by itself
			return
		}
		if pause(ctx, at-c.now()) != nil {
			break
		}
		c.flush()
		c.answers.Wait()
	}
	_, unwritten, _ := c.pending.state()
	c.config.Logger.Warn("stopping with sessions that the store was not told of; their clients' keys still open them", "unwritten", unwritten)
}

// watch receives the notices of sessions that other nodes have acquired. It saves each of
// these sessions again; the store's answer says what this node must do.
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
		if !c.Degraded() { // else the outage was logged
			c.config.Logger.Warn("notices of what other nodes take are interrupted; trying again", "error", err)
		}
		if pause(ctx, watchPause) != nil {
			return
		}
	}
}

// now returns the time on the monotonic clock.
func (c *Cluster) now() time.Duration { return time.Since(c.began) }

// never is later than any time on the monotonic clock.
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

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

// Store keeps the records and leases that must survive the end of this node. Package store
// describes the methods, which are safe for concurrent use.
type Store interface {
	// Acquire makes a node the owner of a session whose resume key a client presented. The error is
	// a *session.EndedError if the key is refused. Any other error means that the store could not
	// answer.
	Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error)
	// Save writes records independently of each other, by the rules of store.Resolve. It returns
	// one outcome for each record. The error says why some outcomes are Retry; it is nil if no
	// outcome is Retry.
	Save(ctx context.Context, records []store.Record) ([]store.Outcome, error)
	// Sweep renews the node's lease, or ends it, and returns the overdue sessions whose
	// owner's lease has expired. The argument `do` selects which of these it does. If Sweep
	// returns an error, it has not renewed the lease and returns no session.
	Sweep(ctx context.Context, node string, do store.Doing) ([store.Shards]store.Swept, error)
	// Watch calls the function `notice` for each session that another node acquires from this one,
	// until ctx is done or the subscription breaks. It calls the function `connected` once it has
	// subscribed; earlier notices may have been lost.
	Watch(ctx context.Context, node string, connected func(), notice func(id string)) error
}

// Records reads sessions' records from the store, and writes wishes into them. A wish is an
// operator's change of one session: a new role, new tokens, or its end. Records is safe for
// concurrent use.
type Records interface {
	store.Getter
	// Wish writes an operator's change (a wish) into a session's record and notifies the session's
	// owner. It returns the changed record. The error is store.ErrNoSession if the store has no
	// such open session.
	Wish(ctx context.Context, w store.Wish) (store.Record, error)
}

// Node is the engine (package scheduler), which keeps the sessions of this node. Its methods are
// safe for concurrent use.
type Node interface {
	// Adopt makes the engine continue a session whose node has died, from the session's record.
	Adopt(r *store.Record)
	// SaveAgain enqueues a session's record even if it has not changed. SaveAllAgain does so for
	// all open sessions of some shards.
	SaveAgain(id string)
	SaveAllAgain(shards *store.ShardSet)
	// Find returns the resume claims of an open session of a project. It returns false if the
	// session is not on this node.
	Find(app, id string) (session.ResumeClaims, bool)
	// ApplyWish applies a wish, an operator's change, to a session. The argument `stored` says
	// whether the store has the wish, and contains the session's record as read from the store.
	// ApplyWish sends the result on the channel once it has got the session's lock. It closes the
	// channel without a result if the session is no longer on this node, or if its record names
	// another node as the owner.
	ApplyWish(w store.Wish, stored store.WishResult) <-chan store.WishResult
}

// Config configures a Cluster. All fields are required.
type Config struct {
	Store   Store
	Records Records
	// Node is this node's name in the store. No other process may ever have the same name, since
	// each would take the other's sessions for its own.
	Node       string
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Cluster shares this node's sessions with the other nodes. All methods are safe for
// concurrent use.
type Cluster struct {
	config  Config
	began   time.Time     // the time at which this node's monotonic clock was zero
	node    Node          // may be read once the channel `running` is closed
	running chan struct{} // Run closes the channel once it has set the field `node`
	wishes  *prometheus.CounterVec

	pending  writeBehind
	outage   outage
	answers  sync.WaitGroup // counts the goroutines that call Writer.Acknowledge
	slots    chan struct{}  // limits the concurrent requests of Acquire
	cooldown atomic.Int64   // Acquire sends no request to the store before this time on the monotonic clock
}

const (
	// storeTimeout bounds each request to the store for which no client waits.
	storeTimeout = 3 * time.Second
	// stopTimeout bounds the time to save the last records when the node stops.
	stopTimeout = 3 * time.Second
	// watchPause is the wait before watch subscribes to notices again after an error.
	watchPause = time.Second
)

// New returns a Cluster. It saves no records until Run is called: they wait in the write-behind.
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

// Degraded reports whether part or all of the store is unreachable, or the node's lease could not
// be renewed. The node renews its sessions even then.
func (c *Cluster) Degraded() bool { return c.outage.kind.Load() != "" }

// Run synchronises the store with the sessions of this node until ctx is done: it saves
// changed records, renews the node's lease, adopts overdue sessions of dead nodes, and
// receives notices of sessions that other nodes acquire. Before Run returns, it saves the
// remaining records and gives up the lease, so that other nodes need not wait until the lease
// expires.
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

// writeLast saves the remaining records, and then gives up the node's lease.
func (c *Cluster) writeLast() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	c.answers.Wait() // waits, since the store's answers can make sessions enqueue more records
	for ctx.Err() == nil {
		c.pending.makeAllDue()
		at := c.pending.next()
		if at == never {
			// the error does not matter: if this call fails, the lease expires by itself
			_, _ = c.config.Store.Sweep(ctx, c.config.Node, store.Leave)
			return
		}
		if pause(ctx, at-c.now()) != nil {
			break
		}
		c.flush()
		c.answers.Wait()
	}
	_, unwritten, _ := c.pending.state()
	c.config.Logger.Warn("stopping with sessions that are not saved in Redis; their clients can still resume", "unwritten", unwritten)
}

// watch receives the notices of sessions that other nodes have acquired. It saves each of these
// sessions again, because the store's answer to the save says what this node must do with it.
func (c *Cluster) watch(ctx context.Context) {
	first := true
	for {
		err := c.config.Store.Watch(ctx, c.config.Node, func() {
			if !first { // notices were lost between the two subscriptions, so every session is saved again
				c.node.SaveAllAgain(store.AllShards())
			}
			first = false
		}, c.node.SaveAgain)
		if ctx.Err() != nil {
			return
		}
		if !c.Degraded() { // while the store is down, the error is already in the log line about the outage
			c.config.Logger.Warn("subscription to notices about moved sessions is interrupted; trying again", "error", err)
		}
		if pause(ctx, watchPause) != nil {
			return
		}
	}
}

// now returns the time on the monotonic clock.
func (c *Cluster) now() time.Duration { return time.Since(c.began) }

// never is a time on the monotonic clock that is later than any other.
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

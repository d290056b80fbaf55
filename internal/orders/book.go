package orders

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
)

// ErrUnknown says that the project has no such order.
var ErrUnknown = errors.New("there is no such order")

// Config is what a Book needs. All fields are required unless they say otherwise.
type Config struct {
	Board store.Board
	// Node is the name of this node on the board, which no other process has
	// or had.
	Node string
	// Projects is how many projects share the room that there is for orders; zero
	// means 1.
	Projects int
	// Sessions brings this node's sessions in line with an order, and returns
	// what there was to do, and what of it is done; of the report, Node is
	// filled in. For a roll-over it is called again, to learn of the
	// progress. Calls do not overlap. Nil: see SetSessions.
	Sessions func(store.Order) store.Report
	// Certificate is the fingerprint of the certificate that this node signs
	// a project's tokens with, by App ID; empty where it has none. Nil: the
	// nodes' certificates are not compared.
	Certificate func(app string) string
	// Now is the wall clock. Nil means time.Now.
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Book is one node's copy of the orders that stand. All methods but SetSessions
// are safe for concurrent use.
type Book struct {
	config  Config
	metrics *metrics
	loaded  atomic.Bool
	known   chan struct{} // closed once it is loaded

	// There is something to do.
	wakeKeep, wakeApply, wakeRoll, wakeTell chan struct{}

	turn turn // held while an order is carried out

	mu       sync.RWMutex
	entries  map[string]*entry       // guarded by mu; by id
	projects map[string]*project     // guarded by mu; what stands, by App ID
	standing map[store.OrderKind]int // guarded by mu; how many stand
	quotas   quotas                  // guarded by mu; how many there are, and may be
	earliest session.UnixSec         // guarded by mu; before which no order's time is over
	unsaved  map[*entry]struct{}     // guarded by mu; the board does not have them as they are
	news     []*entry                // guarded by mu; to be carried out, but for roll-overs
	rolling  map[*entry]time.Time    // guarded by mu; roll-overs, and when to ask for their progress
	untold   []*entry                // guarded by mu; whose report is to be written
}

// entry is one order, and what this node has to do with it. All but seen is
// guarded by Book.mu.
type entry struct {
	order store.Order // never changes but for Lifted
	// givenAt is when the board was last told of it from here; zero is never.
	givenAt time.Time
	// giving: Give puts it on the board, and is to learn first whether there
	// is room.
	giving bool
	// tryAfter is when the board is asked again whether it has room; zero is
	// any time.
	tryAfter time.Time
	report   store.Report // this node's newest
	applied  bool         // there is a report
	told     bool         // the board has it
	queued   bool         // it stands in Book.untold
	// seen is the reading of the board that it was last found in; the keeping
	// loop's own.
	seen uint64
}

// New makes a Book. It is empty until Run is called.
func New(c Config) (*Book, error) {
	if c.Board == nil || c.Node == "" || c.Logger == nil || c.Registerer == nil {
		return nil, errors.New("orders: Board, Node, Logger and Registerer are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	b := &Book{
		config:   c,
		known:    make(chan struct{}),
		wakeKeep: make(chan struct{}, 1), wakeApply: make(chan struct{}, 1),
		wakeRoll: make(chan struct{}, 1), wakeTell: make(chan struct{}, 1),
		entries: make(map[string]*entry), projects: make(map[string]*project),
		standing: make(map[store.OrderKind]int), quotas: newQuotas(max(1, c.Projects)), earliest: never,
		unsaved: make(map[*entry]struct{}), rolling: make(map[*entry]time.Time),
	}
	b.metrics = newMetrics(b, c.Registerer)
	return b, nil
}

// SetSessions sets Config.Sessions, where that could not be known before. Call it
// before Run and Give.
func (b *Book) SetSessions(apply func(store.Order) store.Report) { b.config.Sessions = apply }

// Loaded reports whether the board was read at least once.
func (b *Book) Loaded() bool { return b.loaded.Load() }

// Known is closed once the board was read.
func (b *Book) Known() <-chan struct{} { return b.known }

// unix is the wall clock in whole seconds.
func (b *Book) unix() session.UnixSec { return session.SecOf(b.config.Now()) }

// stands reports whether an order counts at now.
func stands(o *store.Order, now session.UnixSec) bool { return !o.Lifted && now < o.Until }

// signal wakes whoever waits for c, now or next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package ws

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/origin"
	"refresher/internal/panics"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Sessions is what connections attach to.
type Sessions interface {
	Join(context.Context, session.Join, session.Client) (session.Attachment, error)
	// Open decrypts the key of a resume into its Claims. Its errors are those of
	// Resume.
	Open(r *session.Resume) error
	Resume(context.Context, session.Resume, session.Client) (session.Attachment, error)
}

// Access decides who may ask for a session. It is safe for concurrent use.
type Access interface {
	// Authenticate says who shows a credential; empty is none. The error is a
	// *session.Error, with CodeRateLimited if its holder asks too often.
	Authenticate(ctx context.Context, credential string) (session.Caller, error)
	// Admit returns how long a client at an address must wait before it may join or
	// resume; 0 admits it now.
	Admit(from netip.Addr) (wait time.Duration)
	// ClientAddr returns the address of the client who made a request, behind the
	// proxies that are trusted.
	ClientAddr(r *http.Request) netip.Addr
}

// Config is what a Hub needs. All fields are required unless they say
// otherwise.
type Config struct {
	Sessions Sessions
	Access   Access
	// Heartbeat is how often clients are told to send a ping, in whole
	// seconds. A connection that says nothing for twice as long is dead, or for
	// four times as long if it answers pings.
	Heartbeat time.Duration
	// JoinTimeout is how long a new connection has for its first message.
	// Zero means 10 s.
	JoinTimeout time.Duration
	// WriteTimeout is how long one write may take. Zero means 5 s.
	WriteTimeout time.Duration
	// JoinRate is how many joins and resumes a second are taken; the rest is
	// told when to come back. Zero is no limit.
	JoinRate float64
	Origins  *origin.Checker
	// Panics reports what is recovered from in the handling of a connection.
	// Nil: a panic ends the process.
	Panics *panics.Reporter
	Logger *slog.Logger

	Registerer prometheus.Registerer
}

// Limits on what one connection may send, in messages: far above what a client
// has reason for, far below what would hurt.
const (
	messagesPerSecond = 10
	messageBurst      = 50
)

// shardCount spreads the connections, so that neither a sweep nor an accept
// holds up the others for long.
const shardCount = 64

// sweepEvery is how often each connection is looked at.
const sweepEvery = time.Second

// Hub is all of a node's connections. It is an http.Handler that upgrades.
type Hub struct {
	config  Config
	metrics *metrics
	origin  time.Time  // where the connections' clock begins
	admit   *admission // nil: everybody
	seed    maphash.Seed
	workers *workers

	running  sync.WaitGroup // readers, workers and closers
	drainsBy atomic.Int64   // the end of the drain on the hub's clock, 0 = none
	shards   [shardCount]shard
}

// shard is a part of the connections.
type shard struct {
	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu; nil once the hub is closed
}

// New makes a Hub.
func New(c Config) (*Hub, error) {
	if c.Sessions == nil || c.Access == nil || c.Origins == nil || c.Logger == nil || c.Registerer == nil {
		return nil, errors.New("ws: Sessions, Access, Origins, Logger and Registerer are required")
	}
	if c.Heartbeat < time.Second {
		return nil, errors.New("heartbeat: want at least 1s")
	}
	if !(c.JoinRate >= 0) || math.IsInf(c.JoinRate, 1) { // not NaN either
		return nil, errors.New("join-rate: want 0 (unlimited) or more")
	}
	if c.JoinTimeout == 0 {
		c.JoinTimeout = 10 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 5 * time.Second
	}
	h := &Hub{config: c, origin: time.Now(), seed: maphash.MakeSeed(), workers: newWorkers()}
	h.metrics = newMetrics(c.Registerer, h.open)
	if c.JoinRate > 0 {
		h.admit = newAdmission(c.JoinRate)
	}
	for i := range h.shards {
		h.shards[i].conns = make(map[*conn]struct{})
	}
	return h, nil
}

// ServeHTTP upgrades a request and returns; the connection lives on.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.config.Origins.Allows(r) {
		http.Error(w, "pages of this origin may not connect; allow it with --allowed-origins", http.StatusForbidden)
		return
	}
	c, err := h.accept(w, r)
	if err != nil {
		h.config.Logger.Debug("upgrade refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	if !h.add(c) {
		_ = c.socket.CloseNow() // the hub is closed: nothing to tell, nobody to tell it
		return
	}
	go c.serve() // counted by add
}

// Run looks after the connections until ctx is done.
func (h *Hub) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery / shardCount)
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % shardCount {
		select {
		case <-tick.C:
			h.sweep(&h.shards[i])
		case <-ctx.Done():
			return nil
		}
	}
}

// sweep looks at each connection of one shard.
func (h *Hub) sweep(s *shard) {
	now := h.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.look(now)
	}
}

// Drain tells every client to connect again, elsewhere, at a moment of its own
// within window, and closes its connection then; clients that connect from now
// on are sent on at once. It returns when all connections are gone, or ctx is
// done.
func (h *Hub) Drain(ctx context.Context, window time.Duration) {
	h.drainsBy.Store(int64(h.now() + window + 1))
	conns := h.all()
	start := time.Now()
	step := window / time.Duration(max(1, len(conns)))
	// A connection is closed once its client was told and its time has come.
	met := make([]atomic.Int32, len(conns))
	meet := func(i int) {
		if met[i].Add(1) == 2 {
			_ = conns[i].close(protocol.CloseDrain, "drain", nil)
		}
	}
	var telling sync.WaitGroup
	defer telling.Wait()
	telling.Go(func() { tell(ctx, conns, step, meet) }) // those who do not read keep nobody here
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, c := range conns {
		timer.Reset(time.Until(start.Add(time.Duration(i) * step)))
		select {
		case <-timer.C:
			meet(i)
		case <-c.gone:
		case <-ctx.Done():
			return
		}
	}
	for _, c := range conns {
		select {
		case <-c.gone:
		case <-ctx.Done():
			return
		}
	}
}

// tellAtOnce is how many clients are told at a time where to go: most take
// microseconds, and one that does not read a write deadline.
const tellAtOnce = 1024

// tell tells clients when to connect again, one each step from now on, and calls
// told for each.
func tell(ctx context.Context, conns []*conn, step time.Duration, told func(i int)) {
	var telling sync.WaitGroup
	defer telling.Wait()
	slots := make(chan struct{}, tellAtOnce)
	for i, c := range conns {
		after := time.Duration(i) * step
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		telling.Go(func() {
			defer func() { <-slots }()
			_ = c.write(protocol.Reconnect{Type: protocol.TypeReconnect, AfterMs: after.Milliseconds(), Reason: protocol.ReasonDrain})
			told(i)
		})
	}
}

// A client is sent away by a draining node for so much of what is left of its
// tokens, at most; but not to come back at once.
const (
	drainPatience = 6
	minReturn     = 200 * time.Millisecond
)

// drainLeft reports whether the hub is draining, and a moment in what is left of
// the window for a client that comes now, with tokens that it says run out at
// expiresAt; 0: it does not say. One whose tokens have not long to
// go comes back the sooner: several nodes may be drained one after the other, and
// it may meet each of them.
func (h *Hub) drainLeft(expiresAt session.UnixSec) (time.Duration, bool) {
	by := h.drainsBy.Load()
	if by == 0 {
		return 0, false
	}
	left := max(time.Second, time.Duration(by)-h.now())
	if expiresAt != 0 {
		left = min(left, max(minReturn, lifeLeft(expiresAt)/drainPatience))
	}
	return rand.N(left), true //nolint:gosec // a spread, not a secret
}

// Close cuts all connections that are left, takes no new ones, and returns
// when every goroutine of the hub is gone.
func (h *Hub) Close() {
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		conns := s.conns
		s.conns = nil
		s.mu.Unlock()
		for c := range conns {
			c.cut(protocol.CloseGoingAway)
		}
	}
	h.workers.stop() // readers that are left still get theirs
	h.running.Wait()
}

// all returns the connections there are.
func (h *Hub) all() []*conn {
	var conns []*conn
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		for c := range s.conns {
			conns = append(conns, c)
		}
		s.mu.Unlock()
	}
	return conns
}

// open is how many connections there are.
func (h *Hub) open() float64 {
	n := 0
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		n += len(s.conns)
		s.mu.Unlock()
	}
	return float64(n)
}

func (h *Hub) shard(c *conn) *shard {
	return &h.shards[maphash.Comparable(h.seed, c)%shardCount]
}

// add takes c in and counts its reader, unless the hub is closed.
func (h *Hub) add(c *conn) bool {
	s := h.shard(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return false
	}
	s.conns[c] = struct{}{}
	h.running.Add(1)
	return true
}

func (h *Hub) remove(c *conn) {
	s := h.shard(c)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// now is the hub's monotonic clock.
func (h *Hub) now() time.Duration { return time.Since(h.origin) }

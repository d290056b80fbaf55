package scheduler

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
)

// cluster is a number of nodes that share a store, in simulated time.
type cluster struct {
	t      *testing.T
	config settings
	store  *store.Memory

	mu        sync.Mutex
	announced map[string]int // how often each event was sent, by session and kind; guarded by mu
}

// inCluster runs a test with a new cluster, in simulated time.
func inCluster(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newCluster(t)) })
}

// member is one node of a cluster.
type member struct {
	*node
	link     *link
	registry *prometheus.Registry
	kill     func() // kills the node as a crash does: it saves nothing more
	stop     func() // stops the node as a regular shutdown does
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, config: testConfig(t), store: store.NewMemory(time.Now), announced: make(map[string]int)}
	c.config.Minter = roleMinter{}
	return c
}

// onTwoNodes runs a test in simulated time, with a cluster of the nodes a and b. A client with
// tokens of the lifetime ttl has joined on the node a, and its session's record is stored.
func onTwoNodes(t *testing.T, ttl time.Duration, test func(t *testing.T, c *cluster, a, b *member, p *fakeClient)) {
	t.Helper()
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joined(t, a.Scheduler, ttl)
		wait(time.Second)
		test(t, c, a, b, p)
	})
}

// start adds a node to the cluster. Each node needs a name of its own.
func (c *cluster) start(name string) *member {
	c.t.Helper()
	return c.startWith(name, func(*settings, *link) {})
}

// startWith adds a node. The function change may modify the node's settings and link.
func (c *cluster) startWith(name string, change func(*settings, *link)) *member {
	c.t.Helper()
	l := &link{store: c.store}
	config := c.config
	registry := prometheus.NewRegistry()
	config.Store, config.Records, config.Node, config.Registerer = l, l, name, registry
	config.SendEvent = func(e session.Event, settled func(bool)) {
		go func() {
			if l.isDead() {
				return // the node has died, and the event with it
			}
			c.mu.Lock()
			c.announced[fmt.Sprintf("%s %d", e.Session, deliveredBy(e.Type))]++
			c.mu.Unlock()
			settled(true)
		}()
	}
	change(&config, l)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	m := &member{node: build(c.t, config), link: l, registry: registry}
	go func() {
		defer close(done)
		m.run(ctx)
	}()
	m.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	m.kill = func() {
		l.die()
		m.stop()
	}
	c.t.Cleanup(m.stop)
	return m
}

// deliveredBy returns the bit of store.Delivered for events of a type.
func deliveredBy(t session.EventType) store.Delivered {
	switch t {
	case session.EventJoined:
		return store.DeliveredJoined
	case session.EventUnreachable:
		return store.DeliveredUnreachable
	default:
		return store.DeliveredEnd
	}
}

// Wish sends an operator's change of one session (a wish) to this node.
func (m *member) Wish(ctx context.Context, app string, w store.Wish) (store.WishResult, error) {
	return m.cluster.Wish(ctx, app, w)
}

// count returns how often an event of a session was sent.
func (c *cluster) count(id string, what store.Delivered) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.announced[fmt.Sprintf("%s %d", id, what)]
}

// link is a node's connection to the store, which a test can break.
type link struct {
	store *store.Memory

	mu     sync.Mutex
	fault  func() error // fault is called before each operation; guarded by mu
	after  func() error // after is called after each operation, and its error replaces the answer; guarded by mu
	isGone bool         // whether the node has died; guarded by mu
	lease  error        // if not nil, the error of every renewal of the lease; guarded by mu

	missed func() // missed reports to the node that notices were lost; nil if none were lost; guarded by mu

	running chan struct{} // closed when a paused node continues; nil if the node was not paused; guarded by mu
}

// fail makes every operation call f first and return its error. nil repairs the link.
func (l *link) fail(f func() error) {
	l.mu.Lock()
	l.fault = f
	missed := l.missed
	if f == nil {
		l.missed = nil
	}
	l.mu.Unlock()
	if f == nil && missed != nil {
		missed()
	}
}

// die breaks the link permanently.
func (l *link) die() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.isGone = func() error { return errGone }, true
}

func (l *link) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isGone
}

// through calls operation, unless the link is broken. The link may lose the operation's answer.
func through[T any](l *link, operation func() (T, error)) (answer T, err error) {
	l.await()
	l.mu.Lock()
	before, after := l.fault, l.after
	l.mu.Unlock()
	var nothing T
	if before != nil {
		if err := before(); err != nil {
			return nothing, err
		}
	}
	if answer, err = operation(); err == nil && after != nil {
		err = after()
	}
	if err != nil {
		return nothing, err
	}
	return answer, nil
}

func (l *link) Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error) {
	return through(l, func() (store.Acquired, error) { return l.store.Acquire(ctx, g) })
}

func (l *link) Get(ctx context.Context, id string) (r store.Record, known bool, err error) {
	r, err = through(l, func() (store.Record, error) {
		r, known, err = l.store.Get(ctx, id)
		return r, err
	})
	return r, known, err
}

func (l *link) Wish(ctx context.Context, w store.Wish) (store.Record, error) {
	return through(l, func() (store.Record, error) { return l.store.Wish(ctx, w) })
}

func (l *link) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes, err := through(l, func() ([]store.Outcome, error) { return l.store.Save(ctx, records) })
	if err != nil {
		outcomes = make([]store.Outcome, len(records))
	}
	return outcomes, err
}

func (l *link) Sweep(ctx context.Context, node string, do store.Doing) ([store.Shards]store.Swept, error) {
	l.mu.Lock()
	lease := l.lease
	l.mu.Unlock()
	if lease != nil {
		do = store.Leave
	}
	swept, err := through(l, func() ([store.Shards]store.Swept, error) { return l.store.Sweep(ctx, node, do) })
	if err != nil {
		for i := range swept {
			swept[i].Err = err
		}
	}
	return swept, cmp.Or(err, lease)
}

func (l *link) Watch(ctx context.Context, node string, connected func(), notice func(string)) error {
	return l.store.Watch(ctx, node, connected, func(id string) {
		l.mu.Lock()
		broken, running := l.fault != nil, l.running
		if broken {
			l.missed = connected
		}
		l.mu.Unlock()
		switch {
		case broken:
		case running != nil:
			go func() {
				<-running
				notice(id)
			}()
		default:
			notice(id)
		}
	})
}

var errAway = errors.New("the store is away")

func away() error { return errAway }

// on returns the same client without a connection, ready to resume on the node m.
func (p *fakeClient) on(m *member) *fakeClient {
	next := p.again()
	next.scheduler = m.Scheduler
	return next
}

// move makes the client resume on another node. The client acks all pushes there.
func (p *fakeClient) move(m *member) *fakeClient {
	p.t.Helper()
	next := p.on(m)
	err := next.resume(p)
	require(p.t, err == nil, "resume: %v", err)
	must(p.t, next.current().Ack(next.got().joined.Seq))
	return next
}

// stored returns the number of open sessions in the store.
func (c *cluster) stored() int {
	open, _ := c.store.Len()
	return open
}

// wantStored checks the number of open sessions and of tombstones in the store.
func (c *cluster) wantStored(open, tombstones int) {
	c.t.Helper()
	o, d := c.store.Len()
	check(c.t, o == open && d == tombstones, "the store has %d open sessions and %d tombstones, want %d and %d", o, d, open, tombstones)
}

// open returns the number of open sessions of a node.
func (m *member) open() int {
	m.table.mu.Lock()
	defer m.table.mu.Unlock()
	return len(m.table.open)
}

// attached returns the number of attached sessions of a node.
func (m *member) attached() int {
	return int(testutil.ToFloat64(m.metrics.sessions[session.Attached]))
}

func TestSessionMovesToAnotherNode(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joined(t, a.Scheduler, time.Minute)
		wait(5 * time.Minute)
		pushes := p.got().pushes
		last := pushes[len(pushes)-1]

		moved := p.move(b)
		got := moved.got().joined
		if got.Session != p.got().joined.Session || got.Push.Seq != last.Seq+1 || !got.Resumed || got.Push.Rejoin {
			t.Errorf("resumed with %+v after %+v", got, last)
		}
		wait(time.Second)
		p.wantTold(session.EndSuperseded)
		if a.open() != 0 || b.open() != 1 || c.stored() != 1 {
			t.Errorf("%d, %d and %d sessions on the old node, the new one and in the store", a.open(), b.open(), c.stored())
		}
		for _, m := range []*member{a, b} { // the key in p is older than the move
			wantEnded(t, p.on(m).resume(p), session.EndSuperseded)
		}
		back := moved.move(a)
		if got, was := back.got().joined.Push.Seq, moved.got().joined.Push.Seq; got != was+1 {
			t.Errorf("seq %d after %d on the way back", got, was)
		}
		wait(5 * time.Minute)
		check(t, len(back.got().pushes) >= 5 && back.got().ended == nil && !back.got().lost, "not renewed on the way back: %+v", back.got())
	})
}

// A paused node whose client has moved to another node overwrites no record when it continues.
func TestPausedNodeWritesNothingBack(t *testing.T) {
	onTwoNodes(t, time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
		a.link.fail(away) // the node still renews the session, and its records wait
		wait(2 * store.Lease)
		moved := p.move(b)
		wait(2 * time.Minute)
		check(t, p.got().ended == nil, "the paused node heard of the move")
		a.link.fail(nil)
		wait(5 * time.Second)
		check(t, p.got().ended != nil, "the node that was paused still serves the session")
		check(t, moved.got().ended == nil && !moved.got().lost, "the client was harmed: %+v", moved.got())
		check(t, a.open() == 0 && b.open() == 1 && c.stored() == 1, "%d, %d and %d sessions", a.open(), b.open(), c.stored())
		if held, err := c.store.Acquire(t.Context(), store.AcquireRequest{Session: p.got().joined.Session, Epoch: 100, Node: "judge"}); err != nil || held.Record.Node != "b" {
			t.Errorf("the store has %+v, %v", held, err)
		}
	})
}

func TestSessionsOfADeadNodeAreSettled(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b, d := c.start("a"), c.start("b"), c.start("d")
		p := joined(t, a.Scheduler, 10*time.Minute)
		id := p.got().joined.Session
		wait(time.Second)
		a.kill()
		wait(9*time.Minute + 20*time.Second)
		require(t, b.open()+d.open() == 1, "%d nodes took the session over", b.open()+d.open())
		check(t, c.count(id, store.DeliveredUnreachable) == 1, "nobody said that the client is not there for its renewal")
		wait(time.Minute + 50*time.Second)
		equal(t, "expired renewals", testutil.ToFloat64(b.metrics.renewals["expired"])+testutil.ToFloat64(d.metrics.renewals["expired"]), 1)
		wait(time.Minute)
		if n := b.open() + d.open() + c.stored(); n != 0 || c.count(id, store.DeliveredEnd) != 1 {
			t.Errorf("%d traces of it are left, its end told %d times", n, c.count(id, store.DeliveredEnd))
		}
		// The client can still open the session with its key.
		p.move(b)
	})
}

func TestNothingHappensWhileTheStoreIsAway(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		var clients []*fakeClient
		for range 20 {
			p := joined(t, a.Scheduler, time.Minute)
			clients = append(clients, p)
		}
		wait(time.Second)
		a.link.fail(away)
		b.link.fail(away)
		wait(time.Hour)
		check(t, a.cluster.Degraded() && b.cluster.Degraded(), "not degraded")
		joined(t, b.Scheduler, time.Minute)
		for i, p := range clients {
			if n := len(p.got().pushes); n < 100 || p.got().ended != nil || p.got().lost {
				t.Fatalf("%d renewals in an hour: %+v", n, p.got())
			}
			if i < 10 { // ten sessions move while the store is away: node b restores each from its resume key alone
				p.current().Detach()
				clients[i] = p.move(b)
				equal(t, "seq", clients[i].got().joined.Push.Seq, p.resumeRequest().Seq+1)
			}
		}
		c.store.Lose() // the store becomes reachable again, but without its data
		a.link.fail(nil)
		b.link.fail(nil)
		wait(5 * time.Second)
		check(t, !a.cluster.Degraded() && !b.cluster.Degraded() && c.stored() == 21, "%d of 21 sessions are in the store again", c.stored())
		c.store.Lose() // the store loses its data but stays reachable
		wait(5 * time.Second)
		check(t, c.stored() == 21, "%d of 21 sessions are in the store again", c.stored())
		wait(10 * time.Minute)
		for _, p := range clients {
			check(t, p.got().ended == nil && !p.got().lost, "interrupted: %+v", p.got())
		}
		check(t, a.attached() == 10 && b.attached() == 11, "%d and %d sessions", a.attached(), b.attached())
	})
}

// After all nodes were cut off from the store, all leases have expired, and in the store all
// sessions look overdue. No session of a live node is adopted.
func TestNodesThatWereAllCutOffAreNotTakenForDead(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		nodes := []*member{c.start("a"), c.start("b"), c.start("d")}
		for i := range 30 {
			p := &fakeClient{t: t, scheduler: nodes[i%3].Scheduler}
			p.join(12 * time.Second)
		}
		wait(time.Second)
		for _, m := range nodes {
			m.link.fail(away)
		}
		wait(time.Minute)
		for _, m := range nodes {
			m.link.fail(nil)
			wait(700 * time.Millisecond)
		}
		wait(time.Minute)
		for _, m := range nodes {
			if m.attached() != 10 || m.open() != 10 || testutil.ToFloat64(m.metrics.moves["adopted"]) != 0 || testutil.ToFloat64(m.metrics.renewals["expired"]) != 0 {
				t.Errorf("%d attached of %d, %v adopted, %v expired", m.attached(), m.open(),
					testutil.ToFloat64(m.metrics.moves["adopted"]), testutil.ToFloat64(m.metrics.renewals["expired"]))
			}
		}
	})
}

// A node that reaches the shards of the store but cannot renew its lease is degraded and adopts no
// session. Once it can renew its lease, it waits until the other nodes have had time to renew their
// leases.
func TestNodeWithoutLeaseTakesNothingOver(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		var log bytes.Buffer
		a := c.start("a")
		b := c.startWith("b", func(c *settings, _ *link) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		joined(t, a.Scheduler, 12*time.Second)
		wait(time.Second)
		lease := func(err error) {
			b.link.mu.Lock()
			defer b.link.mu.Unlock()
			b.link.lease = err
		}
		adopted := func() float64 { return testutil.ToFloat64(b.metrics.moves["adopted"]) }
		lease(errors.New("lease: no such luck"))
		a.kill()
		wait(time.Minute)
		check(t, adopted() == 0 && b.cluster.Degraded(), "without a lease: %v adopted, degraded %t", adopted(), b.cluster.Degraded())
		lease(nil)
		wait(store.Lease - time.Second)
		check(t, adopted() == 0 && !b.cluster.Degraded(), "with a new lease: %v adopted, degraded %t", adopted(), b.cluster.Degraded())
		wait(2*store.SweepEvery + time.Second)
		check(t, adopted() == 1, "a lease later: %v adopted", adopted())
		said := strings.Count(log.String(), "no such luck")
		check(t, said == 1, "logged %d times:\n%s", said, log.String())
	})
}

// slowly delays every operation on the store.
func slowly() error {
	pass(200 * time.Millisecond)
	return nil
}

func TestSlowStoreDelaysNoPush(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.start("a")
		a.link.fail(slowly)
		for range 100 {
			p := &fakeClient{t: t, scheduler: a.Scheduler}
			began := time.Now()
			p.join(time.Minute)
			d := time.Since(began)
			require(t, d == 0, "a join waited %s for the store", d)
		}
		wait(time.Hour)
		sum, count := lagOf(t, a)
		check(t, count >= 10_000 && sum == 0, "%v pushes came %v s late in all", count, sum)
		check(t, c.stored() == 100 && !a.cluster.Degraded(), "%d of 100 sessions in the store", c.stored())
	})
}

func TestStoppedNodeHandsOver(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joined(t, a.Scheduler, time.Minute)
		p.current().Detach() // in a real node, the WebSocket hub does this when the node stops
		a.stop()
		require(t, c.stored() == 1, "the node went without a word")
		wait(40 * time.Second)
		check(t, b.open() == 1 && c.count(p.got().joined.Session, store.DeliveredUnreachable) == 1, "nobody took the session over when it was due")
	})
}

// While the store was down, several nodes restored the same session from its key, but only one
// node's answer reached the client. The attachments on the other nodes may have higher epochs. Such
// an attachment may cost the client its connection, but not its session.
func TestUnknownAttachmentDoesNotHarmTheClient(t *testing.T) {
	// which attachment's node reaches the store first: an attachment unknown to the client
	// ("ghost"), or the client's own
	for _, first := range []string{"ghost", "client"} {
		for _, ghosts := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d", first, ghosts), func(t *testing.T) {
				inCluster(t, func(t *testing.T, c *cluster) {
					a, b, d := c.start("a"), c.start("b"), c.start("d")
					p := joined(t, a.Scheduler, time.Minute)
					wait(time.Second)
					for _, m := range []*member{a, b, d} {
						m.link.fail(away)
					}
					wait(5 * time.Second)
					for range ghosts {
						ghost := p.on(b)
						ghost.answer = silent
						must(t, ghost.resume(p)) // the `joined` message does not reach the client
					}
					call := p.move(d)
					order := []*member{b, d}
					if first == "client" {
						order = []*member{d, b}
					}
					for _, m := range append(order, a) {
						m.link.fail(nil)
						wait(3 * time.Second)
					}
					if got := call.got(); got.ended != nil {
						t.Fatalf("the client was ended: %+v", got.ended)
					} else if got.lost {
						call = call.move(d)
					}
					wait(5 * time.Minute)
					call.wantServed(5)
					if n := a.attached() + b.attached() + d.attached(); n != 1 || d.attached() != 1 {
						t.Errorf("%d attachments of one session", n)
					}
				})
			})
		}
	}
}

// A renewal over HTTP on another node acquires the session. Its previous owner closes the
// connection, and the client resumes.
func TestRenewalOverHTTPOnAnotherNode(t *testing.T) {
	onTwoNodes(t, time.Minute, func(t *testing.T, _ *cluster, a, b *member, p *fakeClient) {
		push, err := b.RenewByKey(context.Background(), p.resumeRequest())
		// the node b skips seq 2, since the node a may have just pushed it
		require(t, err == nil && push.Seq == 3, "%+v, %v", push, err)
		wait(time.Second)
		if got := p.got(); got.ended != nil || !got.lost {
			t.Errorf("the connection was told %+v, lost %v; want it to come back", got.ended, got.lost)
		}
		back := p.move(a)
		check(t, back.got().joined.Push.Seq == 4, "came back to seq %d", back.got().joined.Push.Seq)
		wait(5 * time.Minute)
		back.wantServed(5)
	})
}

package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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

	mu sync.Mutex
	// announced counts the deliveries of each event, by session and kind. It is guarded by mu.
	announced map[string]int
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
	// kill ends the node as a crash does: nothing more is saved. stop ends it as a regular shutdown
	// does.
	kill func()
	stop func()
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
	return c.startWith(name, func(*settings) {})
}

// startWith adds a node whose settings the function `change` has modified.
func (c *cluster) startWith(name string, change func(*settings)) *member {
	c.t.Helper()
	l := &link{store: c.store}
	config := c.config
	registry := prometheus.NewRegistry()
	config.Store, config.Records, config.Node, config.Registerer = l, l, name, registry
	config.SendEvent = func(e session.Event, settled func(bool)) {
		go func() {
			if l.isDead() {
				return // a dead node sends no events
			}
			c.mu.Lock()
			c.announced[fmt.Sprintf("%s %d", e.Session, deliveredBy(e.Type))]++
			c.mu.Unlock()
			settled(true)
		}()
	}
	change(&config)
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

	mu sync.Mutex
	// The function `fault` is called before each request. If it returns an error, the request fails
	// with this error. The function `after` is called after each request. If it returns an error, the
	// error replaces the answer. Both are guarded by mu.
	fault  func(request) error
	after  func(request) error
	isGone bool  // guarded by mu
	lease  error // the error of every renewal of the lease; guarded by mu
	deaf   bool  // the store's notices are lost; guarded by mu
	// missed reports to the node that notices were lost. It is nil if none were lost, and guarded by
	// mu.
	missed func()
}

// request is one request of a node to the store.
type request struct {
	ctx context.Context
	// name is "acquire", "get", "wish", "save" or "sweep".
	name    string
	records []store.Record
}

func (l *link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// fail breaks the link: every request calls f first and returns its error, and notices are lost.
func (l *link) fail(f func(request) error) { l.set(func() { l.fault = f }) }

func (l *link) repair() {
	var missed func()
	l.set(func() { missed, l.missed, l.fault = l.missed, nil, nil })
	if missed != nil {
		missed()
	}
}

func (l *link) die() {
	l.set(func() { l.fault, l.isGone = func(request) error { return errGone }, true })
}

func (l *link) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isGone
}

// through performs a request, unless `fault` returns an error. If `after` returns an error, the
// answer is lost.
func through[T any](l *link, r request, perform func() (T, error)) (answer T, err error) {
	l.mu.Lock()
	before, after := l.fault, l.after
	l.mu.Unlock()
	var nothing T
	if before != nil {
		if err := before(r); err != nil {
			return nothing, err
		}
	}
	if answer, err = perform(); err == nil && after != nil {
		err = after(r)
	}
	if err != nil {
		return nothing, err
	}
	return answer, nil
}

func (l *link) Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error) {
	return through(l, request{ctx: ctx, name: "acquire"}, func() (store.Acquired, error) { return l.store.Acquire(ctx, g) })
}

func (l *link) Get(ctx context.Context, id string) (r store.Record, known bool, err error) {
	r, err = through(l, request{ctx: ctx, name: "get"}, func() (store.Record, error) {
		r, known, err = l.store.Get(ctx, id)
		return r, err
	})
	return r, known, err
}

func (l *link) Wish(ctx context.Context, w store.Wish) (store.Record, error) {
	return through(l, request{ctx: ctx, name: "wish"}, func() (store.Record, error) { return l.store.Wish(ctx, w) })
}

func (l *link) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	outcomes, err := through(l, request{ctx, "save", records}, func() ([]store.Outcome, error) { return l.store.Save(ctx, records) })
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
	swept, err := through(l, request{ctx: ctx, name: "sweep"}, func() ([store.Shards]store.Swept, error) { return l.store.Sweep(ctx, node, do) })
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
		broken, deaf := l.fault != nil, l.deaf
		if broken {
			l.missed = connected
		}
		l.mu.Unlock()
		if !broken && !deaf {
			notice(id)
		}
	})
}

var errAway = errors.New("the store is away")

func away(request) error { return errAway }

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
	must(p.t, next.resume(p))
	next.ack(next.got().joined.Seq)
	return next
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

func (m *member) adopted() int { return int(testutil.ToFloat64(m.metrics.moves["adopted"])) }

func TestSessionMovesToAnotherNode(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joined(t, a.Scheduler, time.Minute)
		wait(5 * time.Minute)
		moved := p.move(b)
		got := moved.got().joined
		check(t, got.Session == p.id() && got.Seq == p.newest().Seq+1 && got.Resumed && !got.Rejoin, "resumed with %+v", got)
		wait(time.Second)
		p.wantTold(session.EndSuperseded)
		equal(t, "sessions on the nodes", [2]int{a.open(), b.open()}, [2]int{0, 1})
		c.wantStored(1, 0)
		for _, m := range []*member{a, b} { // p has the key from before its session moved to node b, so both nodes refuse the key
			wantEnded(t, p.on(m).resume(p), session.EndSuperseded)
		}
		back := moved.move(a)
		equal(t, "seq on the way back", back.newest().Seq, got.Seq+1)
		wait(5 * time.Minute)
		back.wantServed(5)
	})
}

func TestSessionsOfADeadNodeAreSettled(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b, d := c.start("a"), c.start("b"), c.start("d")
		p := joined(t, a.Scheduler, 10*time.Minute)
		wait(time.Second)
		a.kill()
		wait(9*time.Minute + 20*time.Second)
		equal(t, "nodes that took the session over", b.open()+d.open(), 1)
		equal(t, "events that its client is unreachable", c.count(p.id(), store.DeliveredUnreachable), 1)
		wait(time.Minute + 50*time.Second)
		equal(t, "expired renewals", testutil.ToFloat64(b.metrics.renewals["expired"])+testutil.ToFloat64(d.metrics.renewals["expired"]), 1)
		wait(time.Minute)
		equal(t, "sessions on the nodes", b.open()+d.open(), 0)
		equal(t, "events of its end", c.count(p.id(), store.DeliveredEnd), 1)
		c.wantStored(0, 0)
		p.move(b) // the key opens the expired session again
	})
}

func TestNothingHappensWhileTheStoreIsAway(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		clients := joinedMany(t, a.Scheduler, 20, time.Minute)
		wait(time.Second)
		a.link.fail(away)
		b.link.fail(away)
		wait(time.Hour)
		check(t, a.cluster.Degraded() && b.cluster.Degraded(), "not degraded")
		clients = append(clients, joined(t, b.Scheduler, time.Minute))
		for i, p := range clients[:10] { // node b restores these ten sessions from their resume keys alone
			p.wantServed(60)
			p.current().Detach()
			clients[i] = p.move(b)
			equal(t, "seq", clients[i].newest().Seq, p.newest().Seq+1)
		}
		c.store.Lose() // the store becomes reachable again, but without its data
		a.link.repair()
		b.link.repair()
		wait(5 * time.Second)
		check(t, !a.cluster.Degraded() && !b.cluster.Degraded(), "still degraded")
		c.wantStored(21, 0)
		c.store.Lose() // the store loses its data but stays reachable
		wait(5 * time.Second)
		c.wantStored(21, 0)
		wait(10 * time.Minute)
		for _, p := range clients {
			p.wantServed(9)
		}
		equal(t, "attached sessions of the nodes", [2]int{a.attached(), b.attached()}, [2]int{10, 11})
	})
}

// A node that reaches the shards of the store but cannot renew its lease is degraded and adopts no
// session. Once it can renew its lease, it waits until the other nodes have had time to renew their
// leases: if all nodes were cut off, all sessions look overdue in the store.
func TestNodeWithoutLeaseTakesNothingOver(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		joined(t, a.Scheduler, 12*time.Second)
		wait(time.Second)
		b.link.set(func() { b.link.lease = errAway })
		a.kill()
		wait(time.Minute)
		check(t, b.adopted() == 0 && b.cluster.Degraded(), "without a lease: %v adopted, degraded %t", b.adopted(), b.cluster.Degraded())
		b.link.set(func() { b.link.lease = nil })
		wait(store.Lease - time.Second)
		check(t, b.adopted() == 0 && !b.cluster.Degraded(), "with a new lease: %v adopted, degraded %t", b.adopted(), b.cluster.Degraded())
		wait(2*store.SweepEvery + time.Second)
		equal(t, "adopted sessions a lease later", b.adopted(), 1)
	})
}

func TestSlowStoreDelaysNoPush(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.start("a")
		a.link.fail(func(request) error { pass(200 * time.Millisecond); return nil })
		began := time.Now()
		p := joined(t, a.Scheduler, time.Minute)
		equal(t, "time that the join took", time.Since(began), 0)
		wait(time.Hour)
		p.wantServed(60)
		for _, at := range p.got().at {
			late := at.Sub(a.clock.origin) % (50 * time.Millisecond) // renewals are due at multiples of 50 ms
			require(t, late == 0, "pushed %s late", late)
		}
	})
}

func TestStoppedNodeHandsOver(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b")
		p := joinedDetached(t, a.Scheduler, time.Minute)
		a.stop()
		c.wantStored(1, 0)
		wait(40 * time.Second)
		equal(t, "sessions that node b took over", b.open(), 1)
		equal(t, "events that its client is unreachable", c.count(p.id(), store.DeliveredUnreachable), 1)
	})
}

// While the store was down, several nodes restored the same session from its key, but only one
// node's answer reached the client. The attachments on the other nodes may have higher epochs. Such
// an attachment may close the client's connection, but does not end its session.
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
					order := []*member{b, d, a}
					if first == "client" {
						order = []*member{d, b, a}
					}
					for _, m := range order {
						m.link.repair()
						wait(3 * time.Second)
					}
					if call.got().lost {
						call = call.move(d)
					}
					wait(5 * time.Minute)
					call.wantServed(5)
					equal(t, "attachments on the nodes", [3]int{a.attached(), b.attached(), d.attached()}, [3]int{0, 0, 1})
				})
			})
		}
	}
}

// A renewal over HTTP on another node acquires the session. Its previous owner closes the
// connection, and the client resumes.
func TestRenewalOverHTTPOnAnotherNode(t *testing.T) {
	onTwoNodes(t, time.Minute, func(t *testing.T, _ *cluster, a, b *member, p *fakeClient) {
		// node b skips seq 2, since node a may have just pushed a bundle with it
		equal(t, "seq", p.renewOn(b.Scheduler).Seq, 3)
		wait(time.Second)
		check(t, p.got().ended == nil && p.got().lost, "the connection was told %+v, lost %v", p.got().ended, p.got().lost)
		back := p.move(a)
		equal(t, "seq on the way back", back.newest().Seq, 4)
		wait(5 * time.Minute)
		back.wantServed(5)
	})
}

// If the answer of an Acquire is lost, the store has a higher epoch than the node. The session is
// still renewed, and its end is saved.
func TestAcquireWhoseAnswerIsLost(t *testing.T) {
	onTwoNodes(t, time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
		d := c.start("d")
		p.current().Detach()
		wait(time.Second)
		p.renewOn(b.Scheduler)
		wait(time.Second)
		d.link.set(func() {
			d.link.after = func(r request) error {
				if r.name == "acquire" {
					return context.DeadlineExceeded
				}
				return nil
			}
		})
		call := p.move(d)
		wait(time.Second)
		d.link.set(func() { d.link.after = nil })
		r, _, err := c.store.Get(t.Context(), p.id())
		check(t, err == nil && r.Node == "d" && r.Version > 0, "the store has the record %+v, %v, which d has not saved", r, err)
		wait(10 * time.Minute)
		call.wantServed(10)
		call.current().Leave()
		wait(time.Second)
		wantEnded(t, call.on(a).resume(call), session.EndLeft)
	})
}

// A client may resume while this node discards the client's session because another node owns it.
func TestResumeOfASessionThatIsBeingLost(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joined(t, s, time.Hour)
		e := s.table.get(p.id())
		e.mu.Lock()
		e.discard() // e.commit was not called yet, so the table still has the session
		e.mu.Unlock()
		key := e.session.Claims()
		_, err := s.peek(&key)
		check(t, err == nil, "the key of an open session is refused: %v", err)
		e.Do(e.commit)
		back := p.comesBack()

		// The node may get the answer to a save that it made before the client returned. That
		// answer does not close the client's new connection.
		before := store.Record{Record: session.Record{ResumeClaims: key}}
		s.table.get(p.id()).Acknowledge(&before, store.Outcome{Action: store.Release})
		back.wantServed(0)
	})
}

// A failed resume closes the session's previous connection. The session becomes detached, on the
// node and in the store, and the client may resume again.
func TestFailedResumeLeavesTheSessionDetached(t *testing.T) {
	onTwoNodes(t, 10*time.Minute, func(t *testing.T, c *cluster, a, b *member, p *fakeClient) {
		for _, m := range []*member{a, b} {
			broken := p.on(m)
			broken.refuse = true
			err := broken.resume(p)
			require(t, errors.Is(err, errGone), "resume: %v", err)
			wait(5 * time.Second)
			check(t, p.got().ended == nil && p.got().lost, "the older connection was told %+v, lost %v", p.got().ended, p.got().lost)
			r, _, err := c.store.Get(t.Context(), p.id())
			check(t, err == nil && r.State == session.Detached, "the store has %+v, %v", r, err)
		}
		p.move(a)
	})
}

// A record of another user's session, under the id in the client's key, is ignored.
func TestRecordThatDoesNotMatchTheKeyIsUnknown(t *testing.T) {
	onTwoNodes(t, time.Hour, func(t *testing.T, c *cluster, _, b *member, p *fakeClient) {
		r, _, err := c.store.Get(t.Context(), p.id())
		must(t, err)
		r.Identity, r.Epoch = session.Identity{RTC: &session.RTC{Channel: "c", UID: 2}}, r.Epoch+1
		_, err = c.store.Save(t.Context(), []store.Record{r})
		must(t, err)
		moved := p.move(b)
		wait(3 * time.Hour)
		moved.wantServed(3)
		equal(t, "uid", b.table.get(p.id()).session.Identity.RTC.UID, 1)
	})
}

// A node has adopted a session from a record that names another user than the client's key. The client
// gets the tokens of the key's user.
func TestAdoptedRecordOfAnotherUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := start(t, testConfig(t)), start(t, testConfig(t))
		p := joined(t, a, time.Hour)
		inAnHour := session.SecOf(time.Now().Add(time.Hour))
		b.Adopt(&store.Record{Record: session.Record{
			ResumeClaims: session.ResumeClaims{
				Session: p.id(), App: "app", Epoch: 1, Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 2}},
				Terms: session.Terms{TTL: time.Hour, Until: inAnHour},
			},
			Proven: 1, State: session.Detached, Seq: 1, ExpiresAt: inAnHour,
		}, Node: "gone", Version: 1})
		moved := &fakeClient{t: t, scheduler: b}
		must(t, moved.resume(p))
		equal(t, "uid", b.table.get(p.id()).session.Identity.RTC.UID, 1)
		equal(t, "open sessions", len(b.table.all(nil)), 1)
		whole(t, b)
	})
}

// A live node sends each event once, even if your back end never acknowledges it.
func TestEventsAreSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		var types []session.EventType
		c.SendEvent = func(e session.Event, _ func(bool)) { types = append(types, e.Type) }
		p := joined(t, start(t, c), time.Minute)
		wait(time.Hour)
		p.current().Leave()
		wait(time.Minute)
		check(t, slices.Equal(types, []session.EventType{session.EventJoined, session.EventEnded}), "sent %v", types)
	})
}

// A node without webhooks does not mark events as delivered, so that nodes with webhooks send them.
func TestEventsAreSentByNodesWithWebhooks(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		a := c.startWith("a", func(config *settings) { config.SendEvent = nil })
		p := joined(t, a.Scheduler, time.Minute)
		wait(time.Second)
		call := p.move(c.start("b"))
		wait(time.Minute)
		call.current().Leave()
		wait(time.Minute)
		equal(t, "deliveries of its end", c.count(p.id(), store.DeliveredEnd), 1)
	})
}

package scheduler

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	sharing "refresher/internal/cluster"
	"refresher/internal/session"
	"refresher/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settings configures a node of a test.
type settings struct {
	Config

	// Store and Records are shared with other nodes; nil if the node works alone.
	Store   sharing.Store
	Records sharing.Records
	// Approve and Revocations decide which sessions get tokens; nil if the grant alone decides.
	Approve     func(ctx context.Context, action session.Action, k session.ResumeClaims) (Answer, error)
	Revocations *revocations
	// Slots limits the workers; 0 means the default.
	Slots int
}

// Answer is your back end's answer to a request for approval.
type Answer struct {
	Agreed bool
	Until  session.UnixSec
}

func (c *settings) Authorize(ctx context.Context, r session.Request) session.Decision {
	if r.Caller != nil {
		if err := r.Caller.Grant.Covers(r.Claims.Identity); err != nil {
			refusal, _ := errors.AsType[*session.Error](err)
			return session.Decision{Reason: session.NotGranted, Refusal: refusal}
		}
	}
	d := c.Recheck(r.Claims)
	d.Role = roleOf(r.Claims.Identity)
	if !d.Allowed || c.Approve == nil {
		return d
	}
	answer, err := c.Approve(ctx, r.Action, *r.Claims)
	switch {
	case err != nil:
		role := d.Role
		d = session.Refuse(session.ApprovalUnavailable)
		d.Role, d.Cause = role, err
	case !answer.Agreed:
		d.Allowed, d.Reason = false, session.Denied
	default:
		d.Until = answer.Until
	}
	return d
}

func (c *settings) Recheck(k *session.ResumeClaims) session.Decision {
	switch {
	case c.Revocations != nil && !c.Revocations.Loaded():
		return session.Refuse(session.RevocationsUnknown)
	case c.Revocations != nil && c.Revocations.Revoked(k):
		return session.Refuse(session.Revoked)
	}
	return session.Decision{Allowed: true}
}

func (c *settings) Revoked(k *session.ResumeClaims) bool {
	return c.Revocations != nil && c.Revocations.Revoked(k)
}

// share gives the node a store in memory, which it returns.
func (c *settings) share() *store.Memory {
	memory := store.NewMemory(time.Now)
	c.Store, c.Records = memory, memory
	return memory
}

func testConfig(t testing.TB) settings {
	t.Helper()
	sealer, err := session.NewSealer([]byte("a secret of more than 16 bytes"))
	must(t, err)
	return settings{Config: Config{
		Serves: func(app string) bool { return app == "app" }, Minter: plainMinter{}, Sealer: sealer,
		Policy: session.Policy{
			TTL: time.Hour, MinTTL: 10 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 30 * 24 * time.Hour,
			AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
		},
		Node: "node-" + rand.Text(), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}}
}

// plainMinter mints the same token for every user.
type plainMinter struct{}

func (plainMinter) Mint(_ string, _ session.Identity, _ session.Format, _ session.Cause, _, expiresAt session.UnixSec) (session.Tokens, error) {
	return session.Tokens{RTC: "token", ExpiresAt: expiresAt}, nil
}

// build returns a node that does not run yet.
func build(t testing.TB, c settings) *node {
	t.Helper()
	c.Access = &c
	n := &node{}
	if c.Store != nil {
		n.cluster = sharing.New(sharing.Config{Store: c.Store, Records: c.Records, Node: c.Node, Logger: c.Logger, Registerer: c.Registerer})
		c.Cluster = n.cluster
	}
	var err error
	if n.Scheduler, err = New(c.Config); err != nil {
		t.Fatal(err)
	}
	if c.Slots > 0 {
		n.workers.slots = make(chan struct{}, c.Slots)
	}
	return n
}

// node is a Scheduler with its Cluster, which is nil if the node works alone.
type node struct {
	*Scheduler
	cluster *sharing.Cluster
}

// run runs a node until ctx is done.
func (n *node) run(ctx context.Context) {
	share, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var shared sync.WaitGroup
	if n.cluster != nil {
		shared.Go(func() { n.cluster.Run(share, n.Scheduler) })
	}
	n.Scheduler.Run(ctx)
	stop()
	shared.Wait()
}

// start runs a Scheduler in simulated time until the test ends.
func start(t *testing.T, c settings) *Scheduler { return startNode(t, c).Scheduler }

func startNode(t *testing.T, c settings) *node {
	t.Helper()
	n := build(t, c)
	n.start(t)
	return n
}

func (n *node) start(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.run(t.Context())
	}()
	// The node stops when the test's context ends. This happens before the clean-up functions run, so
	// this function only waits for the node.
	t.Cleanup(func() { <-done })
}

// withScheduler runs a test in simulated time, with a Scheduler that works alone.
func withScheduler(t *testing.T, test func(t *testing.T, s *Scheduler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, start(t, testConfig(t))) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// check fails the test with the formatted message if ok is false.
func check(t testing.TB, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Errorf(format, args...)
	}
}

// equal fails the test if `have` differs from `want`. The argument `what` names the value.
func equal[T comparable](t testing.TB, what string, have, want T) {
	t.Helper()
	check(t, have == want, "%s: have %v, want %v", what, have, want)
}

// require ends the test with the formatted message if ok is false.
func require(t testing.TB, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf(format, args...)
	}
}

// wantEnded checks that err is an EndedError with this reason.
func wantEnded(t testing.TB, err error, reason session.EndReason) {
	t.Helper()
	ended, ok := errors.AsType[*session.EndedError](err)
	check(t, ok && ended.Reason == reason, "have %v, want a session that ended as %s", err, reason)
}

// wantCode checks that err is a refusal with this code.
func wantCode(t testing.TB, err error, want session.Code) {
	t.Helper()
	refused, ok := errors.AsType[*session.Error](err)
	check(t, ok && refused.Code == want, "have %v, want %s", err, want)
}

// joined returns a client that has joined a session on s, with tokens of the lifetime ttl.
func joined(t *testing.T, s *Scheduler, ttl time.Duration) *fakeClient {
	t.Helper()
	p := &fakeClient{t: t, scheduler: s}
	p.join(ttl)
	return p
}

// joinedSilent is like joined, but the client answers no push.
func joinedSilent(t *testing.T, s *Scheduler, ttl time.Duration) *fakeClient {
	t.Helper()
	p := &fakeClient{t: t, scheduler: s, answer: silent}
	p.join(ttl)
	return p
}

// joinedDetached is like joined, but the client has lost its connection after the join.
func joinedDetached(t *testing.T, s *Scheduler, ttl time.Duration) *fakeClient {
	t.Helper()
	p := joined(t, s, ttl)
	p.current().Detach()
	return p
}

func joinedMany(t *testing.T, s *Scheduler, n int, ttl time.Duration) []*fakeClient {
	t.Helper()
	clients := make([]*fakeClient, n)
	for i := range clients {
		clients[i] = joined(t, s, ttl)
	}
	return clients
}

// joinAs returns a client that has joined as this uid in a channel, with tokens of ten minutes. The
// client's credential has this subject.
func joinAs(t *testing.T, s *Scheduler, channel string, uid uint32, subject string) *fakeClient {
	t.Helper()
	p := &fakeClient{t: t, scheduler: s}
	caller := anybody
	caller.Subject = subject
	must(t, p.open(session.Join{
		Identity: session.Identity{RTC: &session.RTC{Channel: channel, UID: uid}}, TTL: 10 * time.Minute, Caller: caller,
	}))
	return p
}

// wantServed checks that the client is connected and got at least the given number of pushes.
func (p *fakeClient) wantServed(pushes int) {
	p.t.Helper()
	if got := p.got(); got.ended != nil || got.lost || len(got.pushes) < pushes {
		p.t.Errorf("not served: %+v", got)
	}
}

// wantTold checks that the client received the end of its session, with this reason.
func (p *fakeClient) wantTold(reason session.EndReason) {
	p.t.Helper()
	ended := p.got().ended
	require(p.t, ended != nil && ended.Reason == reason, "told %+v, want %s", ended, reason)
}

// fakeClient is a client that records the messages that it receives, and answers pushes as its
// field `answer` says.
type fakeClient struct {
	t         *testing.T
	scheduler *Scheduler
	// answer is called for each push, in a new goroutine. If it is nil, the client acks at once.
	answer func(p *fakeClient, push session.Push)
	// refuse makes the write of `joined` fail.
	refuse bool
	// take is called while a push is written. If it is nil, the write does not block.
	take func() error

	mu         sync.Mutex
	attachment session.Attachment // guarded by mu
	record     record             // guarded by mu
}

// record contains the messages that a fakeClient has received.
type record struct {
	joined    session.Joined
	pushes    []session.Push
	at        []time.Time
	ended     *session.Ending
	lost      bool
	seq       uint64
	expiresAt session.UnixSec
}

// got returns the messages that the client has received so far.
func (p *fakeClient) got() record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record
}

func (p *fakeClient) id() string { return p.got().joined.Session }

func (p *fakeClient) newest() session.Push {
	got := p.got()
	if len(got.pushes) == 0 {
		return got.joined.Push
	}
	return got.pushes[len(got.pushes)-1]
}

// join opens a session with tokens of the lifetime ttl.
func (p *fakeClient) join(ttl time.Duration) {
	p.t.Helper()
	must(p.t, p.open(session.Join{Identity: someone, TTL: ttl, Caller: anybody}))
}

// open opens the session that j requests.
func (p *fakeClient) open(j session.Join) error {
	a, err := p.scheduler.Join(context.Background(), j, p)
	if err == nil {
		p.hold(a)
	}
	return err
}

func (p *fakeClient) hold(a session.Attachment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attachment = a
}

// again returns the same client without a connection, ready to resume.
func (p *fakeClient) again() *fakeClient {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &fakeClient{t: p.t, scheduler: p.scheduler, answer: p.answer, record: record{joined: p.record.joined, expiresAt: p.record.expiresAt}}
}

// resumeRequest returns a request with which the client can resume its session.
func (p *fakeClient) resumeRequest() session.Resume {
	return session.Resume{Session: p.id(), Key: p.got().joined.Key, Seq: p.newest().Seq}
}

// resume resumes the session of `from`, an earlier connection of the same client.
func (p *fakeClient) resume(from *fakeClient) error {
	a, err := p.scheduler.Resume(context.Background(), from.resumeRequest(), p)
	if err != nil {
		return err
	}
	p.hold(a)
	return nil
}

func (p *fakeClient) ack(seq uint64) {
	p.t.Helper()
	err := p.current().Ack(seq)
	check(p.t, err == nil, "ack: %v", err)
}

// comesBack resumes the client's session on a new connection to the same node.
func (p *fakeClient) comesBack() *fakeClient {
	p.t.Helper()
	next := p.again()
	must(p.t, next.resume(p))
	return next
}

// renewOn renews the client's session by a request over HTTP to a node.
func (p *fakeClient) renewOn(s *Scheduler) session.Push {
	p.t.Helper()
	push, err := s.RenewByKey(context.Background(), p.resumeRequest())
	must(p.t, err)
	return push
}

func (p *fakeClient) current() session.Attachment {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attachment
}

func (p *fakeClient) Joined(j session.Joined) error {
	if p.refuse {
		return errGone
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record.joined = j
	p.see(j.Push)
	return nil
}

func (p *fakeClient) Push(push session.Push) error {
	if p.take != nil {
		if err := p.take(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record.pushes = append(p.record.pushes, push)
	p.record.at = append(p.record.at, time.Now())
	p.see(push)
	go func() {
		if p.answer != nil {
			p.answer(p, push)
		} else {
			p.ack(push.Seq)
		}
	}()
	return nil
}

// see checks the order of the messages on the connection. The caller holds p.mu.
func (p *fakeClient) see(push session.Push) {
	r := &p.record
	if push.Seq < r.seq || push.Tokens.ExpiresAt < r.expiresAt || r.ended != nil || r.lost {
		p.t.Errorf("seq %d expires at %d, after seq %d, which expires at %d; ended %+v, lost %v", push.Seq, push.Tokens.ExpiresAt, r.seq, r.expiresAt, r.ended, r.lost)
	}
	r.seq, r.expiresAt = push.Seq, push.Tokens.ExpiresAt
}

func (p *fakeClient) End(e session.Ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	check(p.t, p.record.ended == nil && !p.record.lost, "closed twice")
	p.record.ended = &e
}

func (p *fakeClient) CloseDead() {
	p.mu.Lock()
	defer p.mu.Unlock()
	check(p.t, p.record.ended == nil && !p.record.lost, "closed twice")
	p.record.lost = true
}

func silent(*fakeClient, session.Push) {}

// pass lets simulated time pass.
func pass(d time.Duration) {
	time.Sleep(d) // bubble
}

// wait lets simulated time pass and then waits until all goroutines are blocked.
func wait(d time.Duration) {
	pass(d)
	synctest.Wait()
}

// whole checks that the queue contains each open session exactly once.
func whole(t testing.TB, s *Scheduler) {
	t.Helper()
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	seen := make(map[*entry]int)
	s.table.queue.Each(func(e *entry, _, _ time.Duration) { seen[e]++ })
	for id, e := range s.table.open {
		check(t, seen[e] == 1, "session %s stands in the queue %d times", id, seen[e])
	}
	check(t, len(seen) == len(s.table.open), "%d deadlines for %d sessions", len(seen), len(s.table.open))
}

var errGone = errors.New("gone")

// counterOf reads the counter whose labels have these values. The values are in the order of the
// labels' names.
func counterOf(t testing.TB, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && slices.EqualFunc(m.GetLabel(), labels, func(l *dto.LabelPair, value string) bool { return l.GetValue() == value }) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s %v", name, labels)
	return 0
}

// anybody is a caller whose grant allows any session.
var anybody = session.Caller{App: "app", Grant: session.Grant{All: true}}

// someone is the user of most sessions.
var someone = session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}}

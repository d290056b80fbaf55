package scheduler

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// Minter makes the tokens. It is safe for concurrent use.
type Minter interface {
	// Mint makes one bundle: a token of the project app for each service of
	// id, all valid from issuedAt to expiresAt. A
	// *session.Error says that id breaks one of Agora's rules. cause is for
	// the books only.
	Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error)
}

// Config is what a Scheduler needs. All fields are required unless they say
// otherwise.
type Config struct {
	// Serves reports whether this node mints tokens for a project, by its
	// App ID.
	Serves func(app string) bool
	Minter Minter
	Sealer *session.Sealer
	Policy session.Policy
	// Store is what this node shares with others; Node is its name there,
	// which no other process has or had.
	// Records is the part of it that operators need.
	Store   Store
	Records Records
	Node    string
	// Announce sends an event to the customer's back end. It returns at once, and
	// calls settled from another goroutine when the event is delivered or given up
	// for good. Nil sends none.
	Announce func(e session.Event, settled func(delivered bool))
	// Revocations keep users out. Nil: there are none.
	Revocations Revocations
	// Consent asks the customer's back end whether a session may go on. It
	// takes less than Policy.AskAhead; an error says that it could not be
	// asked. Nil, with a zero Policy.AskAhead: it is not asked.
	Consent func(ctx context.Context, action session.Action, k session.Key) (Answer, error)
	// Certificate names the certificate that the Minter signs a project's tokens with
	// now; see CertificateChanged. Nil: it never changes.
	Certificate func(app string) session.Fingerprint
	// MaxSessions is how many sessions the node keeps. A join is refused when so
	// many are attached; resumes are always taken; a detached session that is one
	// too many is forgotten. Zero is no limit.
	MaxSessions int
	// Concurrency is how many pushes may be in the making at once. One that
	// waits for a client that does not read counts for slotPatience only. Zero
	// means 1024.
	Concurrency int
	// Tracer traces joins, resumes and renewals. Nil: nothing is traced.
	Tracer trace.Tracer
	// Panics reports what is recovered from in the handling of a session. Nil:
	// a panic ends the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Scheduler keeps the sessions of one node and renews their tokens on time.
// All methods are safe for concurrent use.
//
// Lock order: entry.mu, then Scheduler.mu. Scheduler.mu is a leaf: nothing is
// called under it that can block.
type Scheduler struct {
	config  Config
	metrics *metrics
	clock   clock
	slots   chan struct{}  // one for each push in the making
	pushes  sync.WaitGroup // the same, to wait for
	aside   sync.WaitGroup // work that waits for sessions' locks
	wake    chan struct{}  // tells Run that there is an earlier deadline
	begun   chan struct{}  // closed by Run
	begin   sync.Once      // closes begun

	sweepEvery time.Duration // store.SweepEvery; tests of long days sweep less

	outbox       outbox
	storeError   atomic.Value  // the kind of error for which a part of the store is away, a string; empty: it is not
	outage       outage        // what was said of that
	acquires     chan struct{} // one for each request to acquire a session that is under way
	acquireAfter atomic.Int64  // the store is not asked before this, on the monotonic clock
	pulse        pulse

	signers signers // what tokens are signed with

	failures throttle // of renewals, in the log
	crowded  throttle // that sessions were forgotten for want of room, in the log

	mu      sync.Mutex
	entries map[string]*entry // open sessions by id; guarded by mu
	queue   queue             // guarded by mu
	adopted int               // how many entries are adopted; guarded by mu
	waiting list.List         // entries that are detached, the one for longest first, without adopted ones; guarded by mu
	ended   map[string]*entry // over, and the store or the back end was not told yet; guarded by mu
}

// clockCheckEvery is how often Run looks whether the wall clock was set.
const clockCheckEvery = 5 * time.Second

// stepWindow is the span over which renewals are spread that a step of the
// wall clock made due.
const stepWindow = 30 * time.Second

// slotPatience is for how long a push counts as being in the making. Making one takes
// microseconds; what takes longer waits for a client, which must not hold up others.
const slotPatience = 100 * time.Millisecond

// retryAfterError is when a renewal is tried again that failed in the making.
const retryAfterError = time.Second

// New makes a Scheduler. Nothing is renewed until Run is called.
func New(c Config) (*Scheduler, error) {
	if c.Serves == nil || c.Minter == nil || c.Sealer == nil || c.Store == nil || c.Records == nil || c.Node == "" || c.Logger == nil || c.Registerer == nil {
		return nil, errors.New("scheduler: Serves, Minter, Sealer, Store, Records, Node, Logger and Registerer are required")
	}
	if err := c.Policy.Check(); err != nil {
		return nil, err
	}
	if (c.Consent != nil) != (c.Policy.AskAhead > 0) {
		return nil, errors.New("scheduler: Consent and Policy.AskAhead go together")
	}
	if c.Revocations == nil {
		c.Revocations = noRevocations{}
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 1024
	}
	s := &Scheduler{
		config: c,
		clock:  newClock(),

		sweepEvery: store.SweepEvery,

		slots:    make(chan struct{}, c.Concurrency),
		wake:     make(chan struct{}, 1),
		begun:    make(chan struct{}),
		entries:  make(map[string]*entry),
		ended:    make(map[string]*entry),
		signers:  newSigners(),
		outbox:   outbox{wake: make(chan struct{}, 1)},
		acquires: make(chan struct{}, acquiresAtOnce),
	}
	s.storeError.Store("")
	s.metrics = newMetrics(s, c.Registerer)
	return s, nil
}

// Begun is closed when Run has started. Before that, Health is an error.
func (s *Scheduler) Begun() <-chan struct{} { return s.begun }

// Run renews tokens as they fall due, and keeps the store in step, until ctx is
// done. It returns once the pushes that it began are over and the store has been
// told, or could not be in time. Sessions must not be changed any more then.
func (s *Scheduler) Run(ctx context.Context) error {
	s.pulse.beat(s.clock.now().Mono)
	s.begin.Do(func() { close(s.begun) })
	var keeper sync.WaitGroup
	defer keeper.Wait()
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	keeper.Go(func() { s.keepStore(keep) })
	keeper.Go(func() { s.rotate(ctx) })
	defer s.pushes.Wait()
	check := time.NewTicker(clockCheckEvery)
	defer check.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.pulse.beat(s.clock.now().Mono)
		select { // also while there is always more to do
		case <-check.C:
			s.checkClock()
		default:
		}
		e, next := s.pop()
		if e != nil {
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			s.pushes.Go(func() {
				free := func() { <-s.slots }
				patience := time.AfterFunc(slotPatience, free)
				s.fire(e)
				if patience.Stop() {
					free()
				}
			})
			continue
		}
		if next != never {
			timer.Reset(next - s.clock.now().Mono)
		}
		select {
		case <-timer.C:
		case <-s.wake:
		case <-check.C:
			s.checkClock()
		case <-ctx.Done():
			return nil
		}
	}
}

// pop takes the most urgent session that is due, or tells when the next is.
func (s *Scheduler) pop() (*entry, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.Next(s.clock.now().Mono)
}

// fire does what a session's deadline asks for.
func (s *Scheduler) fire(e *entry) {
	e.mu.Lock()
	defer e.unlock()
	defer s.contain(e, nil)
	defer s.commit(e)
	if e.session.State() == session.Ended { // since it was popped
		return
	}
	now := s.clock.now()
	due := e.session.Deadline()
	task, cause := e.session.Due(now)
	switch task {
	case session.Renew:
		was := session.Instant{Mono: due, Wall: now.Wall.Add(due - now.Mono)}
		s.follow(e, was.Wall)
		e.trail.due(was, now)
		s.renew(e, cause, now)
		e.trail.observe(s.metrics.lag, (s.clock.now().Mono - due).Seconds())
	case session.Repeat:
		s.send(e, e.session.Repeat(now))
		e.trail.observe(s.metrics.lag, (s.clock.now().Mono - due).Seconds())
	case session.GiveUp:
		s.log(e, slog.LevelWarn, "client is silent, closing its connection")
		client := e.client
		s.detach(e, e.session.Attachment(), now)
		client.Lost()
	case session.Unreachable:
		s.log(e, slog.LevelInfo, "nobody is connected, and the tokens run out soon")
	case session.RunOut:
		s.ranOut(e, "tokens ran out while nobody was connected")
	case session.Expire:
		s.end(e, session.EndExpired)
	case session.Ask:
		s.ask(e, now)
	case session.Deny:
		s.log(e, slog.LevelWarn, "the back end could not be asked for longer than authorize-grace")
		s.end(e, session.EndDenied)
	case session.Wait:
	}
}

// renew mints a new bundle and sends it. e.mu is held.
func (s *Scheduler) renew(e *entry, cause session.Cause, now session.Instant) {
	s.follow(e, now.Wall)
	push, err := s.issue(e, cause, now)
	var ended *session.EndedError
	switch {
	case errors.As(err, &ended):
		s.end(e, ended.Reason)
	case err != nil:
		s.metrics.errors.Inc()
		e.trail.failed(err)
		if ok, more := s.failures.allow(s.clock.now().Mono); ok {
			s.log(e, slog.LevelError, "renewal failed, trying again", "error", err, "retry_seconds", retryAfterError.Seconds(), "more", more)
		}
		e.session.Defer(retryAfterError, now)
	default:
		s.send(e, push)
	}
}

// issue mints the session's next bundle. e.mu is held.
func (s *Scheduler) issue(e *entry, cause session.Cause, now session.Instant) (session.Push, error) {
	tokens, err := s.mint(e.trail.context(), e.session, cause, now)
	if err != nil {
		return session.Push{}, err
	}
	push := e.session.Issue(tokens, cause, now)
	e.trail.issued(&push)
	if push.Rejoin {
		s.ranOut(e, "tokens ran out unconfirmed, telling the client to join again")
	}
	return push, nil
}

// ranOut reports, once, that a client's tokens ran out. e.mu is held.
func (s *Scheduler) ranOut(e *entry, message string) {
	if e.session.ReportRunOut() {
		s.metrics.renewals.expired.Inc()
		if e.client != nil {
			s.metrics.ranOut.attached.Inc() // the service's own failure, most likely
		} else {
			s.metrics.ranOut.detached.Inc()
		}
		e.trail.ranOut()
		s.log(e, slog.LevelWarn, message)
	}
}

// mint makes a session's next tokens. The error is an EndedError when it may have
// none any more.
func (s *Scheduler) mint(ctx context.Context, ses *session.Session, cause session.Cause, now session.Instant) (session.Tokens, error) {
	if key := ses.Key(); s.config.Revocations.Revoked(&key) {
		return session.Tokens{}, &session.EndedError{Ending: ses.Ending(session.EndRevoked)}
	}
	issuedAt, expiresAt, err := ses.Lifetime(now)
	if err != nil {
		return session.Tokens{}, err
	}
	_, span := s.span(ctx, "mint")
	tokens, err := s.config.Minter.Mint(ses.App, ses.Identity, ses.Terms.Format, cause, issuedAt, expiresAt)
	endSpan(span, err)
	if _, refused := errors.AsType[*session.Error](err); !refused { // a client's bad name says nothing of the node
		s.pulse.minted(err, now.Mono)
	}
	return tokens, err
}

// send writes push to the client, which is to answer it. e.mu is held.
func (s *Scheduler) send(e *entry, push session.Push) {
	if e.client != nil {
		e.session.Sent()
		s.push(e, push)
	}
}

// push writes push to the client; one that cannot take it is not connected any
// more. e.mu is held.
func (s *Scheduler) push(e *entry, push session.Push) {
	s.metrics.pushed(push.Attempt)
	_, span := s.span(e.trail.context(), "push")
	err := e.client.Push(push)
	endSpan(span, err)
	if err == nil {
		s.sent(e.trail, push.Attempt)
	} else {
		s.log(e, slog.LevelInfo, "push failed", "error", err)
		s.detach(e, e.session.Attachment(), s.clock.now())
	}
}

// detach takes the session's connection away. e.mu is held.
func (s *Scheduler) detach(e *entry, epoch uint64, now session.Instant) {
	if !e.session.Detach(epoch, now) {
		return
	}
	e.client = nil
	e.trail.conclude("detached")
	s.log(e, slog.LevelInfo, "session detached", "epoch", epoch)
}

// end ends the session for good and tells its client. e.mu is held.
func (s *Scheduler) end(e *entry, reason session.EndReason) {
	if e.session.Unconfirmed() {
		s.metrics.renewals.ended.Inc()
	}
	ending := e.session.Ending(reason)
	s.log(e, slog.LevelInfo, "session ended", "reason", string(reason), "access_ends_at", ending.AccessEndsAt)
	e.reason = reason
	e.session.End()
	e.trail.conclude(string(reason))
	if e.client != nil {
		e.client.End(ending)
		e.client = nil
	}
}

// commit brings the queue, the store and the metrics in step with the session,
// after every change to it. It is the one place where any of them is told. e.mu
// is held.
func (s *Scheduler) commit(e *entry) {
	state := e.session.State()
	e.session.SetSigner(s.signer(e.session.App))
	s.metrics.moved(e.counted, state)
	e.counted = state
	defer e.closeTrail()
	if e.lost {
		e.trail.conclude("lost")
		s.bury(e)
		return
	}
	s.announce(e)
	if state == session.Ended {
		s.bury(e)
		s.tell(e)
		return
	}
	s.tell(e)
	if s.place(e, state) {
		s.makeRoom(e)
	}
}

// place puts an open session where it belongs in the queue, and among those that are
// detached. It reports whether there are too many of these now. e.mu is held.
func (s *Scheduler) place(e *entry, state session.State) (crowded bool) {
	due, expires, certificate := e.session.Deadline(), e.session.HeldExpires(), e.session.Certificate()
	s.mu.Lock()
	defer s.mu.Unlock()
	e.atRisk = state == session.Attached && e.session.Unconfirmed()
	e.certificate = certificate
	s.setWaiting(e, state == session.Detached && !e.adopted)
	if s.queue.Set(e, due, expires) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return s.tooMany()
}

// bury takes an ended session out of the table. It is remembered until the store
// knows, so that the keys of one that was ended on purpose stay dead, and until
// the back end knows. The key of one that nobody came back to opens it anew.
func (s *Scheduler) bury(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[e.id] != e { // buried already
		return
	}
	delete(s.entries, e.id)
	s.queue.Remove(e)
	s.setWaiting(e, false)
	s.countAsOwn(e)
	if !e.lost {
		s.ended[e.id] = e
	}
}

// countAsOwn counts an adopted session as the node's own. s.mu is held.
func (s *Scheduler) countAsOwn(e *entry) {
	if e.adopted {
		e.adopted = false
		s.adopted--
	}
}

// checkClock looks whether the wall clock was set, and if so tells the
// sessions.
func (s *Scheduler) checkClock() {
	step := s.clock.step()
	if step == 0 {
		return
	}
	s.config.Logger.Warn("the wall clock was set", "step_seconds", step.Seconds())
	s.mu.Lock()
	entries := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		entries = append(entries, e)
	}
	s.mu.Unlock()
	for _, e := range entries {
		s.do(e, func() {
			e.session.ClockStepped(step, stepWindow, s.clock.now())
			s.commit(e)
		})
	}
}

// log writes one line about a session. e.mu is held.
func (s *Scheduler) log(e *entry, level slog.Level, message string, args ...any) {
	if !s.config.Logger.Enabled(context.Background(), level) { // acks are logged at debug level, on the push path
		return
	}
	s.config.Logger.With("session", e.id).Log(context.Background(), level, message, args...) //nolint:sloglint // the callers' messages are constants
}

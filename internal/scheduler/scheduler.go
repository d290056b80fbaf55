package scheduler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// Minter makes the tokens. It is safe for concurrent use.
type Minter interface {
	// Mint makes one bundle: a token of the project app for each service of id, all valid
	// from issuedAt to expiresAt. A *session.Error says that id breaks one of Agora's rules.
	// cause is for the books only.
	Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error)
}

// Access says who may have tokens; see package access.
type Access interface {
	// Authorize says whether something may be done now. It waits for the customer's back end,
	// if that is asked.
	Authorize(ctx context.Context, r session.Request) session.Decision
	// Recheck refuses what a revocation matches by now, and everything until the node has
	// read the revocations. Revoked reports whether one that the node knows matches. Neither
	// does I/O.
	Recheck(k *session.ResumeClaims) session.Decision
	Revoked(k *session.ResumeClaims) bool
}

// Cluster is what the nodes share of the sessions; see package cluster. Its methods are
// safe for concurrent use.
type Cluster interface {
	// Enqueue has a session's record saved soon, in place of an older one of the same writer
	// that still waits, and does not wait for that. within is how long the record may gather
	// with others. The writer is given the store's answer. ctx is for the trace alone. It
	// returns false if the record is that of an end, and too many of those wait.
	Enqueue(ctx context.Context, r *store.Record, within time.Duration, w store.Writer) bool
	// Acquire makes this node the owner of a session whose resume key a client presented,
	// for a connection, or for a single renewal without one. It goes by the key if the store
	// does not answer in time. The error is an EndedError, or that of ctx.
	Acquire(ctx context.Context, k *session.ResumeClaims, attach bool) (store.Acquired, error)
	// Get returns a session's record, or false if the store has none that fits the key, or
	// does not answer in time.
	Get(ctx context.Context, k *session.ResumeClaims) (store.Record, bool)
}

// alone is the Cluster of a node that shares nothing. A session that ended on purpose is
// remembered for as long as a store would keep its tombstone.
type alone struct{}

func (alone) Enqueue(_ context.Context, r *store.Record, _ time.Duration, w store.Writer) bool {
	if r.IsTombstone() {
		time.AfterFunc(time.Until(r.TombstoneUntil().Time()), func() { w.Acknowledge(r, store.Outcome{Action: store.Done}) })
	}
	return !r.Removable()
}

func (alone) Acquire(_ context.Context, k *session.ResumeClaims, _ bool) (store.Acquired, error) {
	return store.Acquired{Epoch: k.Epoch + 1}, nil
}

func (alone) Get(context.Context, *session.ResumeClaims) (store.Record, bool) {
	return store.Record{}, false
}

// Config is what a Scheduler needs. All fields are required unless they say otherwise.
type Config struct {
	// Serves reports whether this node mints tokens for a project, by its App ID.
	Serves func(app string) bool
	Minter Minter
	Sealer *session.Sealer
	Policy session.Policy
	Access Access
	// Cluster is what this node shares with others; Node is its name there, which no other
	// process has or had. A nil Cluster shares nothing.
	Cluster Cluster
	Node    string
	// SendEvent has an event delivered to the customer's back end. It returns at once, and
	// calls settled from another goroutine when the event is delivered, or given up for good.
	// Nil: no events are sent.
	SendEvent func(e session.Event, settled func(delivered bool))
	// Certificate names the certificate that the Minter signs a project's tokens with now;
	// see CertificateChanged. Nil: it never changes.
	Certificate func(app string) session.Fingerprint
	// MaxSessions is how many sessions the node keeps. A join is refused when so many are
	// attached. A resume is always accepted. Beyond the limit, the session that is detached
	// for longest is removed. Zero is no limit.
	MaxSessions int
	// Tracer traces joins, resumes and renewals. Nil: nothing is traced.
	Tracer trace.Tracer
	// Panics reports what is recovered from in the handling of a session. Nil: a panic ends
	// the process.
	Panics     *panics.Reporter
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Scheduler keeps the sessions of one node and renews their tokens on time. All methods are
// safe for concurrent use.
type Scheduler struct {
	config  Config
	cluster Cluster
	clock   clock
	table   *table
	signers *signers
	metrics *metrics
	tracer  tracer
	journal journal
	health  health

	workers workers
	asking  sync.WaitGroup // requests for approval under way
	begun   chan struct{}  // closed by Run
}

const (
	// clockCheckEvery is how often Run looks whether the wall clock was set.
	clockCheckEvery = 5 * time.Second
	// stepWindow is the span over which renewals are spread if a step of the wall clock has
	// made many due at once.
	stepWindow = 30 * time.Second
)

// New makes a Scheduler. Nothing is renewed until Run is called.
func New(c Config) (*Scheduler, error) {
	if err := c.Policy.Check(); err != nil {
		return nil, err
	}
	s := &Scheduler{
		config: c, cluster: c.Cluster, clock: newClock(), table: newTable(c.MaxSessions), tracer: tracer{c.Tracer}, journal: journal{Logger: c.Logger},
		workers: workers{slots: make(chan struct{}, concurrency)}, begun: make(chan struct{}),
	}
	if s.cluster == nil {
		s.cluster = alone{}
	}
	s.signers = newSigners(c.Certificate, &s.clock)
	s.metrics = newMetrics(s, c.Registerer)
	return s, nil
}

// Begun is closed when Run has started. Before that, Health is an error.
func (s *Scheduler) Begun() <-chan struct{} { return s.begun }

// Run renews tokens as they fall due until ctx is done. It returns once its pushes and
// requests for approval have ended.
func (s *Scheduler) Run(ctx context.Context) {
	s.health.noteRound(s.clock.now().Mono)
	close(s.begun)
	var rotation sync.WaitGroup
	rotation.Go(func() { s.rotate(ctx) })
	defer rotation.Wait()
	defer s.asking.Wait()
	defer s.workers.running.Wait()
	check := time.NewTicker(clockCheckEvery)
	defer check.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select { // also while there is always more to do
		case <-check.C:
			s.checkClock()
		default:
		}
		if again := s.startWorkers(ctx, s.clock.now().Mono); again != never {
			timer.Reset(again - s.clock.now().Mono) // read again: to look at many that are due takes a while
		}
		select {
		case <-timer.C:
		case <-s.table.wake:
		case <-check.C:
			s.checkClock()
		case <-ctx.Done():
			return
		}
	}
}

// checkClock looks whether the wall clock was set, and if so tells the sessions.
func (s *Scheduler) checkClock() {
	step := s.clock.step()
	if step == 0 {
		return
	}
	s.config.Logger.Warn("the wall clock was set", "step_seconds", step.Seconds())
	for _, e := range s.table.all(nil) {
		e.change(func() bool {
			e.session.ClockStepped(step, stepWindow, s.clock.now())
			return true
		})
	}
}

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

// Minter makes tokens. It is safe for concurrent use.
type Minter interface {
	// Mint makes one bundle: a token of the project app for each service of id, all valid
	// from issuedAt to expiresAt. The error is a *session.Error if id breaks one of Agora's
	// rules. cause is for the metrics and the log only.
	Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error)
}

// Access decides who may have tokens; see package access.
type Access interface {
	// Authorize decides about r. It waits for your back end if an approval is required.
	Authorize(ctx context.Context, r session.Request) session.Decision
	// Recheck decides by the revocations alone: it refuses if one matches, or if the node
	// has not read the revocations yet. Revoked reports whether a known revocation matches.
	// Neither does I/O.
	Recheck(k *session.ResumeClaims) session.Decision
	Revoked(k *session.ResumeClaims) bool
}

// Cluster shares sessions with the other nodes; see package cluster. Its methods are safe
// for concurrent use.
type Cluster interface {
	// Enqueue adds a session's record to the write-behind, replacing an older record of the
	// same writer that waits there, and returns at once. The record may wait up to within
	// for others. The store's answer goes to the writer. ctx is for the trace only. Enqueue
	// returns false if the session has ended and too many records of ended sessions wait.
	Enqueue(ctx context.Context, r *store.Record, within time.Duration, w store.Writer) bool
	// Acquire makes this node the owner of a session whose resume key a client presented,
	// for a connection (attach), or for a single renewal without one. If the store does not
	// answer in time, the result follows from the key. The error is an EndedError, or the
	// error of ctx.
	Acquire(ctx context.Context, k *session.ResumeClaims, attach bool) (store.Acquired, error)
	// Get returns a session's record, or false if the store has no record that fits the
	// claims, or does not answer in time.
	Get(ctx context.Context, k *session.ResumeClaims) (store.Record, bool)
}

// alone is the Cluster of a node that shares nothing. It keeps the entry of a session that
// ended on purpose in memory for as long as a store would keep its tombstone.
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

// Config configures a Scheduler. All fields are required unless they say otherwise.
type Config struct {
	// Serves reports whether this node mints tokens for a project, by its App ID.
	Serves func(app string) bool
	Minter Minter
	Sealer *session.Sealer
	Policy session.Policy
	Access Access
	// Cluster shares the sessions with other nodes; nil shares nothing. Node is this node's
	// name, which no other process ever has.
	Cluster Cluster
	Node    string
	// SendEvent has an event delivered to your back end. It returns at once, and
	// calls settled from another goroutine when the event is delivered, or given up for good.
	// Nil: no events are sent.
	SendEvent func(e session.Event, settled func(delivered bool))
	// Certificate returns the certificate with which the Minter signs a project's tokens
	// now; see CertificateChanged. Nil: it never changes.
	Certificate func(app string) session.Fingerprint
	// MaxSessions limits the sessions of the node; 0 is no limit. A join is refused if so
	// many sessions are attached. A resume is always accepted. If there are more, the
	// sessions that have been detached for longest are removed.
	MaxSessions int
	// Tracer traces joins, resumes and renewals. Nil: nothing is traced.
	Tracer trace.Tracer
	// Panics reports panics in the handling of one session, from which the Scheduler
	// recovers. Nil: a panic ends the process.
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
	// clockCheckEvery is how often Run checks whether the wall clock was set.
	clockCheckEvery = 5 * time.Second
	// stepWindow is the span over which renewals are spread if the wall clock was set
	// forward and many became due at once.
	stepWindow = 30 * time.Second
)

// New returns a Scheduler. Nothing is renewed until Run is called.
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
		select { // checks the clock even if sessions are always due
		case <-check.C:
			s.checkClock()
		default:
		}
		if again := s.startWorkers(ctx, s.clock.now().Mono); again != never {
			timer.Reset(again - s.clock.now().Mono) // reads the clock again, since startWorkers can take a while
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

// checkClock checks whether the wall clock was set, and if so informs the sessions.
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

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

// Minter mints tokens. It is safe for concurrent use.
type Minter interface {
	// Mint returns one bundle: a token of the project app for each service of id, valid from
	// issuedAt to expiresAt. The error is a *session.Error if id breaks one of Agora's rules. cause
	// is for the metrics and the log only.
	Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error)
}

// Access decides which sessions get tokens; see package access.
type Access interface {
	// Authorize decides about r. If approval is required, it waits for your back end's answer.
	Authorize(ctx context.Context, r session.Request) session.Decision
	// Recheck decides by the revocations alone: it refuses if a revocation matches, or if the node
	// has not loaded the revocations yet. Revoked reports whether a loaded revocation matches.
	// Neither method does I/O.
	Recheck(k *session.ResumeClaims) session.Decision
	Revoked(k *session.ResumeClaims) bool
}

// Cluster shares sessions with the other nodes; see package cluster. Its methods are safe for
// concurrent use.
type Cluster interface {
	// Enqueue adds a session's record to the write-behind and returns at once. The record replaces
	// a waiting record of the same writer. The record may wait for the duration `within`, so that
	// more records share a batch. The writer gets the store's answer. Enqueue returns false if the
	// session has ended and too many records of ended sessions wait. ctx is used for the trace
	// only.
	Enqueue(ctx context.Context, r *store.Record, within time.Duration, w store.Writer) bool
	// Acquire makes this node the owner of a session whose resume key a client presented. attach is
	// true if the client opens a connection, and false for a single renewal over HTTP. If the store
	// does not answer in time, the result is derived from the key. The error is an EndedError, or
	// the error of ctx.
	Acquire(ctx context.Context, k *session.ResumeClaims, attach bool) (store.Acquired, error)
	// Get returns a session's record. It returns false if the store has no record that matches the
	// claims, or does not answer in time.
	Get(ctx context.Context, k *session.ResumeClaims) (store.Record, bool)
}

// alone is the Cluster of a node without a store. It keeps the entry of a session that ended on
// purpose in memory for as long as a store would keep the session's tombstone.
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

// Config configures a Scheduler. A field is required unless its comment says otherwise.
type Config struct {
	// Serves reports whether this node mints tokens for a project, named by its App ID.
	Serves func(app string) bool
	Minter Minter
	Sealer *session.Sealer
	Policy session.Policy
	Access Access
	// Cluster shares the sessions with other nodes; nil if this node works alone. Node is this
	// node's name. No other process may ever have the same name.
	Cluster Cluster
	Node    string
	// SendEvent sends an event to your back end. It returns at once. When the event is delivered or
	// its delivery is given up, it calls the function `settled` from another goroutine. If
	// SendEvent is nil, no events are sent.
	SendEvent func(e session.Event, settled func(delivered bool))
	// Certificate returns the certificate with which the Minter now signs a project's tokens; see
	// CertificateChanged. It is nil if certificates never change.
	Certificate func(app string) session.Fingerprint
	// MaxSessions limits the number of sessions; 0 means unlimited. A join is refused if this many
	// sessions are attached. A resume is always accepted. If the node then has more sessions, it
	// removes those that have been detached for longest.
	MaxSessions int
	// Tracer traces joins, resumes and renewals; nil if nothing is traced.
	Tracer trace.Tracer
	// Panics reports a panic in the handling of one session. The Scheduler recovers from it. If
	// Panics is nil, a panic ends the process.
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
	// asking counts the pending requests for approval.
	asking sync.WaitGroup
	// begun is closed when Run begins.
	begun chan struct{}
}

const (
	// clockCheckEvery is how often Run checks whether the wall clock was set.
	clockCheckEvery = 5 * time.Second
	// stepWindow is the time over which renewals are spread if many became due at once because the
	// wall clock was set forward.
	stepWindow = 30 * time.Second
)

// New returns a Scheduler. It renews no session until Run is called.
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

// Begun returns a channel that is closed when Run has started. Before that, Health returns an
// error.
func (s *Scheduler) Begun() <-chan struct{} { return s.begun }

// Run renews tokens as they become due until ctx is done. Before it returns, it waits for its
// pushes and requests for approval to end.
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
		select { // the ticker is also read here, since the select below may always choose another case if sessions are always due
		case <-check.C:
			s.checkClock()
		default:
		}
		if again := s.startWorkers(ctx, s.clock.now().Mono); again != never {
			timer.Reset(again - s.clock.now().Mono) // read the clock again, since startWorkers can take a while
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

// checkClock informs the sessions if the wall clock was set since the last check.
func (s *Scheduler) checkClock() {
	step := s.clock.step()
	if step == 0 {
		return
	}
	s.config.Logger.Warn("the wall clock jumped", "step_seconds", step.Seconds())
	for _, e := range s.table.all(nil) {
		e.change(func() bool {
			e.session.ClockStepped(step, stepWindow, s.clock.now())
			return true
		})
	}
}

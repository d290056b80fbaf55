package scheduler

import (
	"container/list"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"refresher/internal/session"
	"refresher/internal/store"
)

// entry is one open session on this node.
type entry struct {
	mu      sync.Mutex
	session *session.Session  // guarded by mu
	client  session.Client    // guarded by mu; nil while detached
	counted session.State     // guarded by mu; the state that the metrics know
	reason  session.EndReason // guarded by mu; set once ended
	lost    bool              // guarded by mu; another node has it: it ended here only
	id      string            // fixed
	key     session.Key       // fixed: whose it is, and its terms at first, not its epoch or role

	refusals throttle // of the client's SDK, in the log

	trail *trail // guarded by mu; of the renewal that is under way, if it is traced

	wish      session.UnixMilli // guarded by mu; version of the newest operator's wish that was acted on
	rev       uint64            // guarded by mu; of the newest record
	written   written           // guarded by mu; what the newest record says
	delivered store.Delivered   // guarded by mu; events that were delivered, or given up
	announced store.Delivered   // guarded by mu; events that were handed over for delivery

	unsaved   *store.Record // guarded by outbox.mu; on its way to the store
	recording trace.Span    // guarded by outbox.mu; of that record; nil: it is not traced

	laterMu sync.Mutex
	later   []func() // guarded by laterMu; to be done by whoever holds mu

	position                        // guarded by Scheduler.mu
	waits       *list.Element       // guarded by Scheduler.mu; its place in waiting, nil: none
	atRisk      bool                // guarded by Scheduler.mu; tokens pushed, not confirmed
	certificate session.Fingerprint // guarded by Scheduler.mu; of the tokens that the client has
	adopted     bool                // guarded by Scheduler.mu; taken over from a node that is gone, and its client was not here yet
}

func newEntry(s *session.Session) *entry {
	return &entry{id: s.ID, key: s.Key(), session: s}
}

// endedOnPurpose reports that the session is over for good: its keys are dead.
// e.mu is held.
func (e *entry) endedOnPurpose() bool {
	return e.session.State() == session.Ended && !e.lost && e.reason != session.EndExpired
}

// do calls f with the session locked: at once, or when whoever holds it lets go,
// in the order of the calls. It does not wait for that, since a session can be
// held for as long as a slow client takes to be written to.
func (e *entry) do(f func()) {
	e.laterMu.Lock()
	e.later = append(e.later, f)
	e.laterMu.Unlock()
	e.catchUp()
}

// unlock lets go of the session, and does what was put off meanwhile.
func (e *entry) unlock() {
	e.mu.Unlock()
	e.catchUp()
}

// catchUp does what was put off, unless somebody holds the session and will.
func (e *entry) catchUp() {
	for e.isBehind() && e.mu.TryLock() {
		e.laterMu.Lock()
		later := e.later
		e.later = nil
		e.laterMu.Unlock()
		for _, f := range later {
			f()
		}
		e.mu.Unlock()
	}
}

func (e *entry) isBehind() bool {
	e.laterMu.Lock()
	defer e.laterMu.Unlock()
	return len(e.later) > 0
}

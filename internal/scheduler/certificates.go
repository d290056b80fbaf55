package scheduler

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"refresher/internal/session"
)

const (
	// changeApart is the minimum time between two changes of a project's certificate that cause
	// renewals. It limits the renewals if the certificate's file changes back and forth.
	changeApart = 10 * time.Second
	// rotateEvery is the minimum time between two passes of rotate over the sessions.
	rotateEvery = time.Second
)

// signers holds each project's current certificate and the time of its last change. It is safe for
// concurrent use. Readers take no lock: the certificate is read after every change of a session, so
// many goroutines would wait for the lock.
type signers struct {
	// certificate returns a project's certificate. It is nil if certificates never change.
	certificate func(app string) session.Fingerprint
	clock       *clock
	// A signal in wake tells rotate that the map `changed` has entries.
	wake  chan struct{}
	byApp atomic.Pointer[map[string]*session.Signer]

	mu sync.Mutex // a goroutine that replaces byApp holds mu
	// changed contains the projects whose sessions rotate must reschedule. It is guarded by mu.
	changed map[string]bool
}

func newSigners(certificate func(app string) session.Fingerprint, c *clock) *signers {
	g := &signers{certificate: certificate, clock: c, wake: make(chan struct{}, 1), changed: make(map[string]bool)}
	g.byApp.Store(&map[string]*session.Signer{})
	return g
}

// unchanging is the Signer of all projects on a node whose certificates never change.
var unchanging session.Signer

// lookup returns a project's current certificate and the time of its last change.
func (g *signers) lookup(app string) *session.Signer {
	if g.certificate == nil {
		return &unchanging
	}
	if signer := (*g.byApp.Load())[app]; signer != nil && signer.Certificate == g.certificate(app) {
		return signer
	}
	return g.update(app)
}

// update is the slow path of lookup, for a project that is new or whose certificate has changed.
func (g *signers) update(app string) *session.Signer {
	g.mu.Lock()
	defer g.mu.Unlock()
	// The certificate is read under the lock, so that a goroutine with an older certificate cannot
	// overwrite a newer one.
	certificate := g.certificate(app)
	before := *g.byApp.Load()
	old := before[app]
	now := g.clock.now().Mono
	signer := &session.Signer{Certificate: certificate}
	switch {
	case old == nil:
		signer.Since = now - changeApart
	case old.Certificate == certificate:
		return old
	case old.Since <= now:
		signer.Since = max(now, old.Since+changeApart)
	// The previous change takes effect at old.Since, which is still ahead. The new certificate
	// takes effect at that time instead.
	default:
		signer.Since = old.Since
	}
	after := maps.Clone(before)
	after[app] = signer
	g.byApp.Store(&after)
	return signer
}

// current returns a map whose keys are the projects' current certificates; all values are 0.
func (g *signers) current() map[session.Fingerprint]int {
	counts := make(map[session.Fingerprint]int)
	for _, signer := range *g.byApp.Load() {
		if signer.Certificate != 0 {
			counts[signer.Certificate] = 0
		}
	}
	return counts
}

// takeChanged returns the projects whose certificate has changed since the last call.
func (g *signers) takeChanged() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed := g.changed
	g.changed = make(map[string]bool)
	return changed
}

// CertificateChanged starts the certificate rotation of a project: it renews the sessions whose
// tokens were signed with another certificate than Config.Certificate now returns. The renewals are
// spread over Policy.CertificateSpread. CertificateChanged does not wait for them.
func (s *Scheduler) CertificateChanged(app string) {
	s.signers.lookup(app) // lookup records the time of the change
	s.signers.mu.Lock()
	s.signers.changed[app] = true
	s.signers.mu.Unlock()
	wake(s.signers.wake)
}

// rotate reschedules the sessions of projects whose certificate has changed, until ctx is done.
func (s *Scheduler) rotate(ctx context.Context) {
	for {
		select {
		case <-s.signers.wake:
		case <-ctx.Done():
			return
		}
		changed := s.signers.takeChanged()
		for _, e := range s.table.all(func(e *entry) bool { return changed[e.claims.App] }) {
			e.change(func() bool { return e.session.State() != session.Ended })
		}
		select {
		case <-time.After(rotateEvery):
		case <-ctx.Done():
			return
		}
	}
}

// wake sends a signal to the reader of c. If a signal already waits in c, which has room for one,
// wake does nothing.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

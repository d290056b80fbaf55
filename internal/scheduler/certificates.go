package scheduler

import (
	"context"
	"sync"
	"time"

	"refresher/internal/session"
)

const (
	// changeApart is the shortest time between two changes of a project's certificate that
	// take effect: a file that changes back and forth does not renew all sessions each time.
	changeApart = 10 * time.Second
	// rotateEvery is the shortest time between two passes of rotate.
	rotateEvery = time.Second
)

// signers holds, by project, the certificate that this node signs with, and since when. It
// is safe for concurrent use.
type signers struct {
	certificate func(app string) session.Fingerprint // nil: it never changes
	clock       *clock
	wake        chan struct{} // tells rotate that there are changed projects

	mu      sync.Mutex
	byApp   map[string]session.Signer // guarded by mu
	changed map[string]bool           // projects whose sessions rotate must reschedule; guarded by mu
}

// of returns the certificate that signs a project's tokens now, and since when.
func (g *signers) of(app string) session.Signer {
	if g.certificate == nil {
		return session.Signer{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	certificate := g.certificate(app) // read under the lock, so that an older certificate cannot replace a newer one
	signer, known := g.byApp[app]
	if known && signer.Certificate == certificate {
		return signer
	}
	now := g.clock.now().Mono
	switch {
	case !known:
		signer.Since = now - changeApart
	case signer.Since <= now:
		signer.Since = max(now, signer.Since+changeApart)
	default: // the previous change has not taken effect yet: this one replaces it
	}
	signer.Certificate = certificate
	g.byApp[app] = signer
	return signer
}

// current returns the certificates that sign now, each with a count of zero.
func (g *signers) current() map[session.Fingerprint]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	counts := make(map[session.Fingerprint]int)
	for _, signer := range g.byApp {
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

// CertificateChanged renews those sessions of a project whose tokens were signed with
// another certificate than the one that Config.Certificate returns now, each at its own
// time within Policy.CertificateSpread. It returns at once.
func (s *Scheduler) CertificateChanged(app string) {
	s.signers.of(app) // the spread begins now
	s.signers.mu.Lock()
	s.signers.changed[app] = true
	s.signers.mu.Unlock()
	wake(s.signers.wake)
}

// rotate reschedules the sessions of projects whose certificate has changed, until ctx is
// done.
func (s *Scheduler) rotate(ctx context.Context) {
	for {
		select {
		case <-s.signers.wake:
		case <-ctx.Done():
			return
		}
		changed := s.signers.takeChanged()
		for _, e := range s.table.all(func(e *entry) bool { return changed[e.key.App] }) {
			e.change(func() bool { return e.session.State() != session.Ended })
		}
		select {
		case <-time.After(rotateEvery):
		case <-ctx.Done():
			return
		}
	}
}

// wake signals the reader of c, which has room for one signal, unless one waits already.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package rotation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"refresher/internal/session"
)

// Report is the progress of a certificate rotation of one project in the cluster. It is the
// answer of GET /v1/certificates.
type Report struct {
	Certificates []Certificate `json:"certificates"`
	// At is when the sessions were counted.
	At session.UnixSec `json:"at"`
	// Partial is true if some sessions were not counted, since counting took too long.
	Partial bool `json:"partial,omitempty"`
}

// Certificate is an App Certificate with the nodes and sessions that use it.
type Certificate struct {
	// Fingerprint identifies the certificate. The entry "unknown" counts the sessions whose
	// certificate is not known.
	Fingerprint string `json:"fingerprint"`
	// SignedBy lists the nodes that now sign with the certificate.
	SignedBy []string `json:"signedBy"`
	// Sessions counts the sessions that have tokens of the certificate. Detached counts how
	// many of them have no connected client. Those get tokens of another certificate when
	// their client resumes.
	Sessions int `json:"sessions"`
	Detached int `json:"detached"`
	// LastTokenEndsAt is when the last token of these sessions expires.
	LastTokenEndsAt session.UnixSec `json:"lastTokenEndsAt,omitempty"`
	// ClassicEndsAt is when the certificate's last token without a session expires. Such tokens
	// come from the endpoints of the classic token servers. It is 0 while nodes sign with the
	// certificate.
	ClassicEndsAt session.UnixSec `json:"classicEndsAt,omitempty"`
	// MayBeDeleted is true when no call needs the certificate any more. Why explains the
	// value.
	MayBeDeleted bool   `json:"mayBeDeleted"`
	Why          string `json:"why"`
}

// unknown is the Fingerprint in the entry for sessions whose certificate is not known.
const unknown = "unknown"

// Report returns the report about a project's certificates.
func (t *Tracker) Report(ctx context.Context, app string) (Report, error) {
	projects := t.observe()
	statuses, err := t.refresh(ctx)
	if err != nil {
		return Report{}, err
	}
	counts, err := t.counter.count(ctx, t.config.Store)
	if err != nil {
		return Report{}, fmt.Errorf("count sessions: %w", err)
	}
	f := newFacts(app, statuses, counts)
	for _, certificate := range projects[app] {
		f.of(certificate)
	}
	return f.report(t.config.MaxTTL, session.SecOf(time.Now())), nil
}

// facts holds the data for the report about one project.
type facts struct {
	counts      counts
	unpublished []string        // live nodes that have not published a status
	watched     session.UnixSec // when the first of the live nodes that serve the project began to record certificates
	unknown     holders
	by          map[session.Fingerprint]*evidence
}

// evidence holds the data about one certificate.
type evidence struct {
	holders
	signedBy []string
	until    session.UnixSec // when the certificate's last token without a session expires; 0 if no node was seen to sign with the certificate
}

func newFacts(app string, statuses map[string]*status, counts counts) *facts {
	f := &facts{counts: counts, unknown: counts.apps[app][0], by: make(map[session.Fingerprint]*evidence)}
	for _, node := range slices.Sorted(maps.Keys(statuses)) {
		s := statuses[node]
		if s == nil {
			f.unpublished = append(f.unpublished, node)
			continue
		}
		p, serves := s.Projects[app]
		if !serves { // the node does not serve this project
			continue
		}
		if f.watched == 0 || s.Started < f.watched {
			f.watched = s.Started
		}
		signs := f.of(p.Certificate)
		signs.signedBy = append(signs.signedBy, node)
		for certificate, until := range p.Until {
			e := f.of(certificate)
			e.until = max(e.until, until)
		}
	}
	for certificate, sessions := range counts.apps[app] {
		if certificate != 0 {
			f.of(certificate).holders = sessions
		}
	}
	return f
}

// of returns the data about a certificate, and adds an empty entry if there is none.
func (f *facts) of(certificate session.Fingerprint) *evidence {
	if f.by[certificate] == nil {
		f.by[certificate] = &evidence{signedBy: []string{}}
	}
	return f.by[certificate]
}

// report returns the report, with the certificates ordered by the number of nodes that sign
// with them, and then by their number of sessions.
func (f *facts) report(maxTTL time.Duration, now session.UnixSec) Report {
	r := Report{Certificates: []Certificate{}, At: session.SecOf(f.counts.at), Partial: f.counts.partial}
	for certificate, e := range f.by {
		one := Certificate{
			Fingerprint: certificate.String(), SignedBy: e.signedBy, Sessions: e.sessions, Detached: e.detached, LastTokenEndsAt: e.endsAt,
		}
		if len(e.signedBy) == 0 {
			one.ClassicEndsAt = cmp.Or(e.until, f.watched.Add(maxTTL)).Add(refreshEvery)
		}
		one.Why = f.obstacle(&one, now)
		if one.MayBeDeleted = one.Why == ""; one.MayBeDeleted {
			one.Why = "no node signs with it, no session holds tokens of it, and tokens without a session have ended"
		}
		r.Certificates = append(r.Certificates, one)
	}
	if u := f.unknown; u.sessions > 0 {
		r.Certificates = append(r.Certificates, Certificate{
			Fingerprint: unknown, SignedBy: []string{}, Sessions: u.sessions, Detached: u.detached, LastTokenEndsAt: u.endsAt,
			Why: "it is known when these clients confirm their next tokens",
		})
	}
	slices.SortFunc(r.Certificates, func(a, b Certificate) int {
		return cmp.Or(-cmp.Compare(len(a.SignedBy), len(b.SignedBy)), -cmp.Compare(a.Sessions, b.Sessions), strings.Compare(a.Fingerprint, b.Fingerprint))
	})
	return r
}

// obstacle returns why a certificate must not be deleted, or "" if it may be.
func (f *facts) obstacle(one *Certificate, now session.UnixSec) string {
	switch {
	case len(one.SignedBy) > 0:
		return fmt.Sprintf("%d of the nodes sign with it", len(one.SignedBy))
	case one.Sessions > 0:
		return fmt.Sprintf("%d sessions hold tokens of it, the last until %s", one.Sessions, inWords(one.LastTokenEndsAt))
	case len(f.unpublished) > 0:
		return "some nodes have not said yet which certificate they sign with: " + strings.Join(f.unpublished, ", ")
	case f.counts.partial:
		return "there was no time to count all sessions; see refresher_sessions_by_certificate of all nodes"
	case f.unknown.sessions > 0:
		return fmt.Sprintf("%d sessions hold tokens of a certificate that is not known, the last until %s", f.unknown.sessions, inWords(f.unknown.endsAt))
	case one.ClassicEndsAt > now:
		return "tokens that were handed out without a session may be signed with it until " + inWords(one.ClassicEndsAt)
	}
	return ""
}

func inWords(s session.UnixSec) string { return s.Time().UTC().Format(time.RFC3339) }

package rotation

import (
	"encoding/json"
	"maps"
	"time"

	"refresher/internal/session"
)

// topic is that of the nodes' statuses.
const topic = "certificates"

// keepSeen is for how long it is remembered that nodes have signed with a certificate:
// longer than any token lives.
const keepSeen = session.MaxLifetime + time.Hour

// status is what a node says of itself, as JSON.
type status struct {
	// Started is since when it has followed what the nodes sign with.
	Started session.UnixSec `json:"started"`
	// Projects are those that it serves, by App ID.
	Projects map[string]signing `json:"projects"`
}

// signing is what one node signs a project's tokens with.
type signing struct {
	Certificate session.Fingerprint `json:"certificate"`
	// Seen is when some node was last seen to sign with another certificate.
	Seen map[session.Fingerprint]session.UnixSec `json:"seen,omitempty"`
}

// parseStatus reads a status. ok is false for a node that has published none yet.
func parseStatus(text string) (s status, ok bool) {
	err := json.Unmarshal([]byte(text), &s)
	return s, err == nil && s.Started != 0
}

// observe takes note of what this node signs with now.
func (s *status) observe(projects []Project, now session.UnixSec) {
	for _, p := range projects {
		was := s.Projects[p.App]
		if was.Certificate == p.Certificates[0] {
			continue
		}
		s.see(p.App, was.Certificate, now)
		next := s.Projects[p.App]
		next.Certificate = p.Certificates[0]
		s.Projects[p.App] = next
	}
}

// merge takes note of what another node says.
func (s *status) merge(other *status, now session.UnixSec) {
	for app, theirs := range other.Projects {
		if theirs.Certificate != s.Projects[app].Certificate {
			s.see(app, theirs.Certificate, now)
		}
		for certificate, at := range theirs.Seen {
			s.see(app, certificate, at)
		}
	}
}

// see notes that a node signed with a certificate at a moment.
func (s *status) see(app string, certificate session.Fingerprint, at session.UnixSec) {
	p, served := s.Projects[app]
	if !served || certificate == 0 || p.Seen[certificate] >= at {
		return
	}
	if p.Seen == nil {
		p.Seen = make(map[session.Fingerprint]session.UnixSec)
	}
	p.Seen[certificate] = at
	s.Projects[app] = p
}

// forget drops what is older than any token can be.
func (s *status) forget(now session.UnixSec) {
	for _, p := range s.Projects {
		maps.DeleteFunc(p.Seen, func(_ session.Fingerprint, at session.UnixSec) bool { return now.Sub(at) > keepSeen })
	}
}

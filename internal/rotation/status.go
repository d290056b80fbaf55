package rotation

import (
	"encoding/json"
	"maps"
	"time"

	"refresher/internal/session"
)

// topic is that of the nodes' statuses.
const topic = "certificates"

// keepUntil is for how long it is remembered that the last tokens of a certificate have
// ended.
const keepUntil = session.MaxLifetime

// status is what a node says of itself, as JSON.
type status struct {
	// Started is since when it has followed what the nodes sign with.
	Started session.UnixSec `json:"started"`
	// MaxTTL is the longest life of its tokens without a session, in seconds.
	MaxTTL int64 `json:"maxTTL"`
	// Projects are those that it serves, by App ID.
	Projects map[string]signing `json:"projects"`
}

// signing is what one node signs a project's tokens with.
type signing struct {
	Certificate session.Fingerprint `json:"certificate"`
	// Until is when the last token without a session ends of another certificate, as of
	// when some node was last seen to sign with it.
	Until map[session.Fingerprint]session.UnixSec `json:"until,omitempty"`
}

// parseStatus reads a status. ok is false for a node that has published none yet.
func parseStatus(text string) (s status, ok bool) {
	err := json.Unmarshal([]byte(text), &s)
	return s, err == nil && s.Started != 0
}

// tokensEnd returns when a token without a session ends that the node makes now.
func (s *status) tokensEnd(now session.UnixSec) session.UnixSec {
	return now.Add(time.Duration(s.MaxTTL) * time.Second)
}

// observe takes note of what this node signs with now.
func (s *status) observe(projects []Project, now session.UnixSec) {
	for _, p := range projects {
		was := s.Projects[p.App]
		if was.Certificate == p.Certificates[0] {
			continue
		}
		s.see(p.App, was.Certificate, s.tokensEnd(now))
		next := s.Projects[p.App]
		next.Certificate = p.Certificates[0]
		s.Projects[p.App] = next
	}
}

// merge takes note of what another node says.
func (s *status) merge(other *status, now session.UnixSec) {
	for app, theirs := range other.Projects {
		if theirs.Certificate != s.Projects[app].Certificate {
			s.see(app, theirs.Certificate, other.tokensEnd(now))
		}
		for certificate, until := range theirs.Until {
			s.see(app, certificate, until)
		}
	}
}

// see notes until when there are tokens of a certificate.
func (s *status) see(app string, certificate session.Fingerprint, until session.UnixSec) {
	p, served := s.Projects[app]
	if !served || certificate == 0 || p.Until[certificate] >= until {
		return
	}
	if p.Until == nil {
		p.Until = make(map[session.Fingerprint]session.UnixSec)
	}
	p.Until[certificate] = until
	s.Projects[app] = p
}

// forget drops what is long over.
func (s *status) forget(now session.UnixSec) {
	for _, p := range s.Projects {
		maps.DeleteFunc(p.Until, func(_ session.Fingerprint, until session.UnixSec) bool { return now.Sub(until) > keepUntil })
	}
}

package rotation

import (
	"encoding/json"
	"maps"
	"time"

	"refresher/internal/session"
)

// topic is the topic of store.Nodes under which nodes publish their status.
const topic = "certificates"

// keepFor is how long a node remembers a certificate after the last token signed with it
// has expired.
const keepFor = session.MaxLifetime

// status is what each node publishes about its certificates, as JSON.
type status struct {
	// Started is when the node started, and began to record certificates.
	Started session.UnixSec `json:"started"`
	// MaxTTL is the maximum lifetime in seconds of the tokens that the node mints without a
	// session, at the endpoints of the classic token servers.
	MaxTTL int64 `json:"maxTTL"`
	// Projects holds the data about each project that the node serves, by App ID.
	Projects map[string]signing `json:"projects"`
}

// signing is the part of a status about one project.
type signing struct {
	// Certificate is the certificate with which the node signs.
	Certificate session.Fingerprint `json:"certificate"`
	// Until has an entry for each other certificate with which any node was seen to sign: when
	// the certificate's last token without a session expires.
	Until map[session.Fingerprint]session.UnixSec `json:"until,omitempty"`
}

// parseStatus reads a status. It returns nil for a node that has not published one yet.
func parseStatus(text string) *status {
	s := new(status)
	if err := json.Unmarshal([]byte(text), s); err != nil || s.Started == 0 {
		return nil
	}
	return s
}

// tokensEnd returns the latest time at which a token without a session can expire if the node mints
// it now.
func (s *status) tokensEnd(now session.UnixSec) session.UnixSec {
	return now.Add(time.Duration(s.MaxTTL) * time.Second)
}

// observe records the certificates that this node signs with now.
func (s *status) observe(projects map[string][]session.Fingerprint, now session.UnixSec) {
	for app, certificates := range projects {
		was := s.Projects[app]
		if was.Certificate == certificates[0] {
			continue
		}
		s.see(app, was.Certificate, s.tokensEnd(now))
		next := s.Projects[app]
		next.Certificate = certificates[0]
		s.Projects[app] = next
	}
}

// merge merges another node's status into s: the certificate with which the other node signs, and
// the certificates that the other node has seen.
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

// see records that the last token of a certificate without a session expires at `until`, unless
// a later time is recorded.
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

// expire removes certificates whose last token expired longer than keepFor ago.
func (s *status) expire(now session.UnixSec) {
	for _, p := range s.Projects {
		maps.DeleteFunc(p.Until, func(_ session.Fingerprint, until session.UnixSec) bool { return now.Sub(until) > keepFor })
	}
}

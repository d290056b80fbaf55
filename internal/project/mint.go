package project

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/agora"
	"refresher/internal/session"
)

// signer mints the tokens of one project with its newest certificate.
type signer struct{ atomic.Pointer[agora.Minter] }

// use makes the given certificate sign the project's tokens.
func (s *signer) use(app, certificate string) error {
	m, err := agora.NewMinter(app, certificate)
	if err == nil {
		s.Store(m)
	}
	return err
}

func newIssued(r prometheus.Registerer) *prometheus.CounterVec {
	issued := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_tokens_issued_total",
		Help: "Tokens minted, by Agora service, token version, and cause.",
	}, []string{"service", "version", "cause"})
	r.MustRegister(issued)
	return issued
}

// Certificate returns the fingerprint of the certificate that signs a project's tokens now, or 0 if this
// node does not serve the project.
func (s *Set) Certificate(app string) session.Fingerprint {
	m, err := s.minter(app)
	if err != nil {
		return 0
	}
	return m.Fingerprint()
}

func (s *Set) minter(app string) (*agora.Minter, error) {
	p := s.signers[app]
	if p == nil {
		return nil, errors.New("this node has no certificate of the project")
	}
	return p.Load(), nil
}

// Mint implements scheduler.Minter and api.Minter.
func (s *Set) Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	m, err := s.minter(app)
	if err != nil {
		return session.Tokens{}, err
	}
	tokens, err := m.Mint(id, f, issuedAt, expiresAt)
	if err != nil {
		return tokens, err
	}
	if tokens.RTC == tokens.RTM {
		s.count(rtcAndRTM, tokens.RTC, cause)
	} else {
		s.count("rtc", tokens.RTC, cause)
		s.count("rtm", tokens.RTM, cause)
	}
	s.count("chat", tokens.Chat, cause)
	return tokens, nil
}

// rtcAndRTM is the metric label for the service of a token that is valid for both RTC and RTM.
const rtcAndRTM = "rtc+rtm"

// MintStream implements api.Minter.
func (s *Set) MintStream(app string, c session.RTC, u session.RTM, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error) {
	m, err := s.minter(app)
	if err != nil {
		return "", err
	}
	token, err := m.MintStream(c, u, issuedAt, expiresAt)
	if err == nil {
		s.count(rtcAndRTM, token, cause)
	}
	return token, err
}

func (s *Set) count(service, token string, cause session.Cause) {
	if token != "" {
		s.issued.WithLabelValues(service, token[:len("007")], string(cause)).Inc()
	}
}

// MintChatApp implements api.Minter.
func (s *Set) MintChatApp(app string, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error) {
	m, err := s.minter(app)
	if err != nil {
		return "", err
	}
	token, err := m.MintChat(session.Chat{}, issuedAt, expiresAt)
	if err == nil {
		s.count("chat", token, cause)
	}
	return token, err
}

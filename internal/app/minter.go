package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/agora"
	"refresher/internal/session"
)

// minter counts what an agora.Minter makes: every token of the service goes
// through it.
type minter struct {
	agora  *agora.Minter
	issued *prometheus.CounterVec
}

func newMinter(c Config, r prometheus.Registerer) (*minter, error) {
	version, err := agora.ParseVersion(c.TokenVersion)
	if err != nil {
		return nil, fmt.Errorf("token-version: %w", err)
	}
	m, err := agora.NewMinter(c.AppID, c.AppCertificate, version)
	if err != nil {
		return nil, err
	}
	issued := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_tokens_issued_total",
		Help: "Tokens minted, by Agora service, token version, and what they were minted for.",
	}, []string{"service", "version", "cause"})
	r.MustRegister(issued)
	return &minter{agora: m, issued: issued}, nil
}

// Mint implements scheduler.Minter and api.Minter.
func (m *minter) Mint(id session.Identity, cause session.Cause, issuedAt, expiresAt int64) (session.Tokens, error) {
	tokens, err := m.agora.Mint(id, issuedAt, expiresAt)
	if err != nil {
		return tokens, err
	}
	m.count("rtc", tokens.RTC, cause)
	m.count("rtm", tokens.RTM, cause)
	m.count("chat", tokens.Chat, cause)
	return tokens, nil
}

func (m *minter) count(service, token string, cause session.Cause) {
	if token != "" {
		m.issued.WithLabelValues(service, token[:len("007")], string(cause)).Inc()
	}
}

// MintChatApp implements api.Minter.
func (m *minter) MintChatApp(cause session.Cause, issuedAt, expiresAt int64) (string, error) {
	token, err := m.agora.MintChat(session.Chat{}, issuedAt, expiresAt)
	if err == nil {
		m.count("chat", token, cause)
	}
	return token, err
}

package app

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/agora"
	"refresher/internal/session"
)

// minter makes and counts tokens, each with the newest certificate of its
// project: every token of the service goes through it.
type minter struct {
	projects map[string]*atomic.Pointer[agora.Minter] // by App ID; fixed
	issued   *prometheus.CounterVec
}

func newMinter(c Config, r prometheus.Registerer) (*minter, error) {
	m := &minter{projects: make(map[string]*atomic.Pointer[agora.Minter])}
	for _, p := range c.Projects {
		m.projects[p.AppID] = new(atomic.Pointer[agora.Minter])
		if err := m.sign(p.AppID, p.Certificates[0]); err != nil {
			return nil, err
		}
	}
	m.issued = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_tokens_issued_total",
		Help: "Tokens minted, by Agora service, token version, and what they were minted for.",
	}, []string{"service", "version", "cause"})
	r.MustRegister(m.issued)
	return m, nil
}

// sign has a project's tokens signed with certificate from now on.
func (m *minter) sign(app, certificate string) error {
	signer, err := agora.NewMinter(app, certificate)
	if err != nil {
		return err
	}
	m.projects[app].Store(signer)
	return nil
}

// serves reports whether there is such a project.
func (m *minter) serves(app string) bool { return m.projects[app] != nil }

// certificate names what signs a project's tokens now; 0 where there is no such project.
func (m *minter) certificate(app string) session.Fingerprint {
	signer, err := m.signer(app)
	if err != nil {
		return 0
	}
	return signer.Fingerprint()
}

// signer returns the minter of a project's tokens.
func (m *minter) signer(app string) (*agora.Minter, error) {
	p := m.projects[app]
	if p == nil {
		return nil, errNoProject
	}
	return p.Load(), nil
}

var errNoProject = errors.New("this node has no certificate of the project")

// Mint implements scheduler.Minter and api.Minter.
func (m *minter) Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	signer, err := m.signer(app)
	if err != nil {
		return session.Tokens{}, err
	}
	tokens, err := signer.Mint(id, f, issuedAt, expiresAt)
	if err != nil {
		return tokens, err
	}
	if tokens.RTC == tokens.RTM {
		m.count(rtcAndRTM, tokens.RTC, cause)
	} else {
		m.count("rtc", tokens.RTC, cause)
		m.count("rtm", tokens.RTM, cause)
	}
	m.count("chat", tokens.Chat, cause)
	return tokens, nil
}

// rtcAndRTM is the service, in metrics, of a token that opens both.
const rtcAndRTM = "rtc+rtm"

// MintStream implements api.Minter.
func (m *minter) MintStream(app string, c session.RTC, u session.RTM, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error) {
	signer, err := m.signer(app)
	if err != nil {
		return "", err
	}
	token, err := signer.MintStream(c, u, issuedAt, expiresAt)
	if err == nil {
		m.count(rtcAndRTM, token, cause)
	}
	return token, err
}

func (m *minter) count(service, token string, cause session.Cause) {
	if token != "" {
		m.issued.WithLabelValues(service, token[:len("007")], string(cause)).Inc()
	}
}

// MintChatApp implements api.Minter.
func (m *minter) MintChatApp(app string, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error) {
	signer, err := m.signer(app)
	if err != nil {
		return "", err
	}
	token, err := signer.MintChat(session.Chat{}, issuedAt, expiresAt)
	if err == nil {
		m.count("chat", token, cause)
	}
	return token, err
}

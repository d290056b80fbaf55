package access

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access/credential"
	"refresher/internal/access/limit"
	"refresher/internal/hook"
	"refresher/internal/session"
)

// Revocations is this node's copy of the revocations. Its methods do no I/O.
type Revocations interface {
	// Loaded reports whether the store was read once.
	Loaded() bool
	// Revoked reports whether a revocation matches a session.
	Revoked(k *session.ResumeClaims) bool
}

// Approval asks the customer's back end. An error says that there is no answer, and never
// means a denial.
type Approval interface {
	Ask(ctx context.Context, q hook.Question) (hook.Answer, error)
}

// Config is what an Access needs. All fields are required unless they say otherwise.
type Config struct {
	Rules
	Port        Port                 // the public one
	Projects    []credential.Project // that are served, one at least
	Revocations Revocations
	Approval    Approval // nil: there is no back end to ask
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
}

// Port is an address that is listened on.
type Port struct {
	Address string
	Local   bool // only this machine can reach it
}

// Access decides who may have tokens.
type Access struct {
	verifier    *credential.Verifier // nil: every caller is anybody
	anybody     session.Caller
	proxies     limit.Proxies
	addresses   *limit.Limiter
	subjects    *limit.Limiter
	revocations Revocations
	approval    Approval       // nil: there is no back end to ask
	denials     *limit.Limiter // of lines in the log
	logger      *slog.Logger
}

// Of one holder of a credential whom the back end denies something, the log has so many
// lines a second, after so many at once. refresher_authorize_seconds counts all.
const (
	deniedPerSecond = 1
	deniedBurst     = 10
)

// New makes an Access. It does no I/O.
func New(c Config) (*Access, error) {
	if err := c.check(len(c.Projects), c.Port); err != nil {
		return nil, err
	}
	a := &Access{
		anybody: c.anybody(c.Projects[0].App), revocations: c.Revocations, approval: c.Approval,
		logger: c.Logger.With("component", "authorize"),
	}
	var err error
	if c.Auth == "jwt" {
		a.verifier, err = credential.New(credential.Config{
			Projects: c.Projects, Logger: c.Logger.With("component", "auth"), Registerer: c.Registerer,
		})
		if err != nil {
			return nil, err
		}
	}
	if a.proxies, err = limit.NewProxies(c.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted-proxies: %w", err)
	}
	if a.addresses, err = limit.New(limit.Config{Rate: c.AddressRate}); err != nil {
		return nil, fmt.Errorf("address-rate: %w", err)
	}
	if a.subjects, err = limit.New(limit.Config{Rate: c.SubjectRate}); err != nil {
		return nil, fmt.Errorf("subject-rate: %w", err)
	}
	a.denials, err = limit.New(limit.Config{Rate: deniedPerSecond, Burst: deniedBurst})
	return a, err
}

// Run fetches the projects' key sets until ctx is done.
func (a *Access) Run(ctx context.Context) {
	if a.verifier != nil {
		a.verifier.Run(ctx)
	}
}

// HasKeys reports whether credentials can be checked, of one project at least.
func (a *Access) HasKeys() bool { return a.verifier == nil || a.verifier.HasKeys() }

// Update replaces how credentials of some projects are checked: who shows one that a
// removed key has signed is refused from then on. On an error nothing has changed.
func (a *Access) Update(projects ...credential.Project) error {
	if a.verifier == nil {
		return nil
	}
	return a.verifier.Update(projects...)
}

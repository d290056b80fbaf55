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

// Revocations is this node's copy of the revocations in the store. Its methods do no I/O.
type Revocations interface {
	// Loaded reports whether the node has read the revocations from the store at least once.
	Loaded() bool
	// Revoked reports whether a revocation matches a session.
	Revoked(k *session.ResumeClaims) bool
}

// Approval requests the back end's approval. An error means that the back end gave no answer;
// it never means a denial.
type Approval interface {
	Request(ctx context.Context, q hook.Request) (hook.Answer, error)
}

// Config configures an Access. Fields are required unless their comment says otherwise.
type Config struct {
	Rules
	Port        Port                 // the public port
	Projects    []credential.Project // the projects that this node serves; at least one
	Revocations Revocations
	Approval    Approval // nil if no approval is needed
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
}

// Port is an address that the node listens on.
type Port struct {
	Address string
	Local   bool // only this machine can reach it
}

// Access authenticates callers, limits their rates, and authorizes what they ask for.
type Access struct {
	verifier    *credential.Verifier // nil if credentials are not checked: every caller then gets the same rights
	anybody     session.Caller
	proxies     limit.Proxies
	addresses   *limit.Limiter
	subjects    *limit.Limiter
	revocations Revocations
	approval    Approval       // nil if no approval is needed
	denials     *limit.Limiter // limits the log lines about denials
	logger      *slog.Logger
}

// Rate and burst of the log lines about denials for one subject. The metric
// refresher_authorize_seconds counts all denials.
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

// HasKeys reports whether the node has the keys to check credentials of at least one project.
func (a *Access) HasKeys() bool { return a.verifier == nil || a.verifier.HasKeys() }

// Update replaces the keys and rules by which the credentials of some projects are checked.
// Credentials signed by a removed key are refused from then on. On an error nothing changes.
func (a *Access) Update(projects ...credential.Project) error {
	if a.verifier == nil {
		return nil
	}
	return a.verifier.Update(projects...)
}

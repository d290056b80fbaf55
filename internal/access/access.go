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

// Revocations is this node's copy of the revocations in the store. Loaded reports whether the node has read them at
// least once. The methods do no I/O.
type Revocations interface {
	Loaded() bool
	Revoked(k *session.ResumeClaims) bool
}

// Approval requests the back end's approval. An error means that the back end gave no answer;
// it never means a denial.
type Approval interface {
	Request(ctx context.Context, q hook.Request) (hook.Answer, error)
}

// Config configures an Access. Port is the public port. Projects has at least one project. A nil Approval means that no
// request needs an approval. The other fields are required.
type Config struct {
	Rules
	Port        Port
	Projects    []credential.Project
	Revocations Revocations
	Approval    Approval
	Logger      *slog.Logger
	Registerer  prometheus.Registerer
}

// Port is an address that the node listens on. Local means that only this machine can reach the address.
type Port struct {
	Address string
	Local   bool
}

// Access authenticates callers, limits their rates, and authorizes what they ask for.
type Access struct {
	verifier    *credential.Verifier // nil with auth "none": every caller then has the rights of `anybody`
	anybody     session.Caller
	proxies     limit.Proxies
	addresses   *limit.Limiter
	subjects    *limit.Limiter
	revocations Revocations
	approval    Approval
	denialLines *limit.Limiter
	logger      *slog.Logger
}

// The back end's denials are logged at a limited rate: for each subject, deniedBurst log lines at once, and
// deniedPerSecond lines a second on average. The metric refresher_authorize_seconds counts all denials.
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
	a.denialLines, err = limit.New(limit.Config{Rate: deniedPerSecond, Burst: deniedBurst})
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
// Credentials signed by a removed key are refused from then on. If Update returns an error, nothing has changed.
func (a *Access) Update(projects ...credential.Project) error {
	if a.verifier == nil {
		return nil
	}
	return a.verifier.Update(projects...)
}

package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access/credential"
	"refresher/internal/access/limit"
	"refresher/internal/authorize"
	"refresher/internal/panics"
	"refresher/internal/project"
	"refresher/internal/revocation"
	"refresher/internal/scheduler"
	"refresher/internal/session"
)

// gate decides who may ask for what, and how often. It implements ws.Gate and
// api.Gate, and is safe for concurrent use.
type gate struct {
	verifier    *credential.Verifier // nil: anybody may have anything of the one project
	anybody     session.Caller
	proxies     limit.Proxies
	addresses   *limit.Limiter
	subjects    *limit.Limiter
	revocations *revocation.Set
	asker       *authorize.Asker // nil: nobody is asked
	logger      *slog.Logger     // of what it answers
	denials     *limit.Limiter   // of lines of the log
}

func newGate(c Config, projects *project.Set, reports *panics.Reporter, logger *slog.Logger, r prometheus.Registerer) (*gate, error) {
	g := &gate{}
	var err error
	if c.Auth == "none" {
		// Who may change others' calls must at least be on this machine.
		g.anybody = session.Caller{App: c.Projects[0].AppID, Admin: !c.Insecure, Grant: session.Grant{All: true}}
	} else {
		config := credential.Config{Projects: projects.Credentials(), Logger: logger.With("component", "auth"), Registerer: r}
		if g.verifier, err = credential.New(config); err != nil {
			return nil, err
		}
	}
	if g.proxies, err = limit.NewProxies(c.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted-proxies: %w", err)
	}
	if g.addresses, err = limit.New(limit.Config{Rate: c.AddressRate}); err != nil {
		return nil, fmt.Errorf("address-rate: %w", err)
	}
	if g.subjects, err = limit.New(limit.Config{Rate: c.SubjectRate}); err != nil {
		return nil, fmt.Errorf("subject-rate: %w", err)
	}
	if g.denials, err = limit.New(limit.Config{Rate: deniedPerSecond, Burst: deniedBurst}); err != nil {
		return nil, err
	}
	if c.AuthorizeURL != "" {
		g.logger = logger.With("component", "authorize")
		g.asker, err = authorize.New(authorize.Config{
			URL: c.AuthorizeURL, Secret: c.AuthorizeSecret, PreviousSecret: c.AuthorizePreviousSecret,
			Timeout: c.AuthorizeTimeout, Patience: askPatience,
			Panics: reports, Logger: g.logger, Registerer: r,
		})
	}
	return g, err
}

// How long before a renewal the back end is asked, and how long the question may
// take in all.
const (
	askAhead    = 15 * time.Second
	askPatience = 8 * time.Second
)

// hasKeys reports whether credentials can be checked, of one project at least.
func (g *gate) hasKeys() bool { return g.verifier == nil || g.verifier.HasKeys() }

// update replaces what credentials of some projects are checked with. On an error
// nothing has changed.
func (g *gate) update(projects ...credential.Project) error {
	if g.verifier == nil {
		return nil
	}
	return g.verifier.Update(projects...)
}

// run keeps what the gate knows fresh, until ctx is done.
func (g *gate) run(ctx context.Context, parts interface{ Go(f func()) }) {
	if g.verifier != nil {
		parts.Go(func() { _ = g.verifier.Run(ctx) }) // returns nil
	}
	if g.asker != nil {
		parts.Go(func() { _ = g.asker.Run(ctx) }) // returns nil
	}
}

// Identify implements ws.Gate and api.Gate.
func (g *gate) Identify(text string) (session.Caller, error) {
	if g.verifier == nil {
		return g.anybody, nil
	}
	c, err := g.verifier.Verify(context.Background(), text)
	if err == nil && g.revocations.Revoked(&session.Key{App: c.App, Subject: c.Subject}) {
		return session.Caller{}, session.ErrRevoked
	}
	return c, err
}

// Wait implements ws.Gate and api.Gate.
func (g *gate) Wait(from netip.Addr) time.Duration {
	_, wait := g.addresses.AllowAddr(from)
	return wait
}

// WaitCaller implements ws.Gate and api.Gate. Callers without a name count as
// one, but where nobody has any.
func (g *gate) WaitCaller(c *session.Caller) time.Duration {
	if g.verifier == nil {
		return 0
	}
	_, wait := g.subjects.Allow(c.App + " " + c.Subject)
	return wait
}

// Address implements ws.Gate and api.Gate.
func (g *gate) Address(r *http.Request) netip.Addr { return g.proxies.ClientAddr(r) }

// Refuse implements api.Gate: tokens without a session are asked for as a join is.
func (g *gate) Refuse(ctx context.Context, c *session.Caller, id session.Identity) error {
	key := session.Key{App: c.App, Subject: c.Subject, Identity: id}
	switch {
	case !g.revocations.Loaded():
		return session.ErrUninformed
	case g.revocations.Revoked(&key):
		return session.ErrRevoked
	case g.asker == nil || id == (session.Identity{}):
		return nil
	}
	answer, err := g.consent(ctx, session.ActionJoin, key)
	switch {
	case err != nil:
		return session.ErrUnasked
	case !answer.Agreed:
		return session.ErrDenied
	case g.revocations.Revoked(&key): // while it was asked
		return session.ErrRevoked
	case answer.Until > 0 && (c.Grant.Until == 0 || answer.Until < c.Grant.Until):
		c.Grant.Until = answer.Until
	}
	return nil
}

// Of one holder of a credential whom the back end turns away the log has so many lines a
// second, after so many at once. refresher_authorize_seconds counts all.
const (
	deniedPerSecond = 1
	deniedBurst     = 10
)

// mayLogDenial reports whether the log may have a line of a denial. One that ends a
// session always has one.
func (g *gate) mayLogDenial(action session.Action, k *session.Key) bool {
	if action == session.ActionRenew {
		return true
	}
	ok, _ := g.denials.Allow(k.App + " " + k.Subject)
	return ok
}

// consent asks the customer's back end.
func (g *gate) consent(ctx context.Context, action session.Action, k session.Key) (scheduler.Answer, error) {
	answer, err := g.asker.Ask(ctx, authorize.Question{
		Action: action, App: k.App, Session: k.Session, Subject: k.Subject, Identity: k.Identity,
	})
	if err == nil && !answer.Allow && g.mayLogDenial(action, &k) {
		g.logger.Info("the back end denied", "action", string(action), "app_id", k.App, "session", k.Session, "reason", answer.Reason)
	}
	return scheduler.Answer{Agreed: answer.Allow, Until: answer.Until}, err
}

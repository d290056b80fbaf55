package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"refresher/internal/session"
)

// Of refusals, logBurst are logged at once, and after that one each logEvery.
const (
	logBurst = 10
	logEvery = 5 * time.Second
)

// maxLoggedKid is how many bytes of a key's id are logged.
const maxLoggedKid = 64

// Verifier checks credentials. It is safe for concurrent use.
type Verifier struct {
	projects map[string]*project // by App ID
	only     *project            // the one that there is; nil if there are several
	remotes  []*remote
	client   *http.Client
	leeway   time.Duration
	metrics  *metrics

	logger   *slog.Logger
	limit    *rate.Limiter
	unlogged atomic.Int64 // refusals since the one that was logged last
}

// project is one project, ready for use.
type project struct {
	app    string
	claims atomic.Pointer[wantedClaims]
	ring   ring
}

// wantedClaims are what a project's credentials must say, where it is not empty.
type wantedClaims struct{ audience, issuer string }

// New returns a Verifier. It does no I/O: key sets are fetched by Run.
func New(c Config) (*Verifier, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	v := &Verifier{
		projects: make(map[string]*project, len(c.Projects)),
		client:   newClient(c.HTTPClient),
		leeway:   c.Leeway,
		logger:   c.Logger,
		limit:    rate.NewLimiter(rate.Every(logEvery), logBurst),
	}
	for i := range c.Projects {
		if err := v.add(&c, &c.Projects[i]); err != nil {
			return nil, err
		}
	}
	v.metrics = newMetrics(c.Registerer, v.remotes)
	for _, r := range v.remotes {
		r.metrics = v.metrics
	}
	return v, nil
}

var errNoKeys = errors.New("want one of jwt-secret, jwt-public-key-file and jwks-url, to check credentials with")

// add takes up a project.
func (v *Verifier) add(c *Config, from *Project) error {
	switch {
	case from.App == "":
		return errors.New("credential: a project without an App ID")
	case v.projects[from.App] != nil:
		return fmt.Errorf("credential: project %s stands there twice", from.App)
	}
	p := &project{app: from.App}
	p.claims.Store(&wantedClaims{from.Audience, from.Issuer})
	fixed, err := readKeys(&from.Keys)
	if err != nil {
		return err
	}
	p.ring.fixed.Store(&fixed)
	if from.Keys.JWKSURL != "" {
		u, err := parseURL(from.Keys.JWKSURL)
		if err != nil {
			return err
		}
		p.ring.remote = &remote{
			url: u, client: v.client, every: c.JWKSRefresh, wake: make(chan struct{}, 1),
			logger: c.Logger.With("endpoint", (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()),
		}
		v.remotes = append(v.remotes, p.ring.remote)
	}
	if len(fixed) == 0 && p.ring.remote == nil {
		return errNoKeys
	}
	v.projects[p.app] = p
	v.only = p
	if len(v.projects) > 1 {
		v.only = nil
	}
	return nil
}

// Update replaces what credentials of some projects are checked with: secrets, public
// keys, audience and issuer. Their key sets stay. On an error nothing has changed.
func (v *Verifier) Update(projects ...Project) error {
	rings := make([][]any, len(projects))
	for i := range projects {
		from := &projects[i]
		p := v.projects[from.App]
		if p == nil {
			return fmt.Errorf("credential: there is no project %s", from.App)
		}
		var err error
		if rings[i], err = readKeys(&from.Keys); err != nil {
			return fmt.Errorf("project %s: %w", from.App, err)
		}
		if len(rings[i]) == 0 && p.ring.remote == nil {
			return fmt.Errorf("project %s: %w", from.App, errNoKeys)
		}
	}
	for i := range projects {
		p := v.projects[projects[i].App]
		p.ring.fixed.Store(&rings[i])
		p.claims.Store(&wantedClaims{projects[i].Audience, projects[i].Issuer})
	}
	return nil
}

// HasKeys reports whether any project has keys, or a key set that was fetched once.
func (v *Verifier) HasKeys() bool {
	for _, p := range v.projects {
		if len(*p.ring.fixed.Load()) > 0 || p.ring.remote.set.Load() != nil {
			return true
		}
	}
	return false
}

// Run keeps key sets fresh until ctx is done. Without any it only waits for that.
func (v *Verifier) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, r := range v.remotes {
		running.Go(func() { r.run(ctx) })
	}
	<-ctx.Done()
	running.Wait()
	v.client.CloseIdleConnections()
	return nil
}

// Verify returns who a credential speaks for. Its error is a *RefusedError, which wraps
// the *session.Error for the caller; it is counted and logged already. It may take
// 2 s, unless ctx ends before, if the credential names a key that has to be fetched first.
func (v *Verifier) Verify(ctx context.Context, credential string) (session.Caller, error) {
	s, err := parse(credential)
	var c session.Caller
	if err == nil {
		c, err = v.judge(ctx, s)
	}
	if err == nil {
		v.metrics.ok.Inc()
		return c, nil
	}
	refusal, ok := errors.AsType[*RefusedError](err)
	if !ok {
		refusal = &RefusedError{Reason: ReasonMalformed} // there is no such way
	}
	told := *refusal
	if s != nil {
		told.kid = s.kid
	}
	v.tell(&told)
	return session.Caller{}, &told
}

// judge checks a credential that has been taken apart. Its error is a *RefusedError.
func (v *Verifier) judge(ctx context.Context, s *signed) (session.Caller, error) {
	p := v.only
	var claims fields
	if p == nil {
		var err error
		if claims, err = s.claims(); err != nil {
			return session.Caller{}, err
		}
		app, _, err := claims.app()
		if err != nil {
			return session.Caller{}, err
		}
		if p = v.projects[app]; p == nil {
			return session.Caller{}, refuse(ReasonApp, "names no project of this service")
		}
	}
	if err := p.ring.verify(ctx, s); err != nil {
		return session.Caller{}, err
	}
	if claims == nil {
		var err error
		if claims, err = s.claims(); err != nil {
			return session.Caller{}, err
		}
	}
	want := p.claims.Load()
	r := rules{app: p.app, audience: want.audience, issuer: want.issuer, leeway: v.leeway, now: time.Now()}
	return r.caller(claims)
}

// tell counts a refusal and logs it, unless there are too many.
func (v *Verifier) tell(r *RefusedError) {
	v.metrics.refused[r.Reason].Inc()
	if !v.limit.Allow() {
		v.unlogged.Add(1)
		return
	}
	attrs := []any{"reason", string(r.Reason), "unlogged", v.unlogged.Swap(0)}
	if r.Detail != "" {
		attrs = append(attrs, "detail", r.Detail)
	}
	if r.kid != "" {
		attrs = append(attrs, "kid", fmt.Sprintf("%q", r.kid[:min(len(r.kid), maxLoggedKid)]))
	}
	v.logger.Info("credential refused", attrs...)
}

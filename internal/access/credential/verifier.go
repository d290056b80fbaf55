package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"refresher/internal/session"
)

// The log gets at most logBurst lines about refusals at once, and then one every logEvery.
const (
	logBurst     = 10
	logEvery     = 5 * time.Second
	maxLoggedKid = 64 // bytes of a key id in the log
)

// Keys has the keys for credentials of one project: at least one secret, public key or key set. An error about a key
// names the command-line flag that sets it.
type Keys struct {
	// Secrets are for HS256, HS384 and HS512. Each has at least 32 bytes. Two are allowed, so that
	// a secret can be changed without refusing valid credentials.
	Secrets []string
	// PublicKeyPEMs are texts in PEM, each with one or more public keys: RSA, EC or Ed25519. Eight
	// keys are allowed in total.
	PublicKeyPEMs []string
	// JWKSURL is the URL of a key set: https, or http on a loopback address.
	JWKSURL string
}

// Project is an Agora project, with the settings for its credentials.
type Project struct {
	App  string
	Keys Keys
	// Audience must be in a credential's aud. If it is empty, aud is not checked.
	Audience string
	// Issuer must be a credential's iss. If it is empty, iss is not checked.
	Issuer string
}

// Config configures a Verifier. Projects has at least one project.
type Config struct {
	Projects   []Project
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Verifier verifies credentials. It is safe for concurrent use.
type Verifier struct {
	projects map[string]*project // the map keys are App IDs
	remotes  []*remote
	client   *http.Client // fetches the key sets
	metrics  metrics

	logger   *slog.Logger
	limit    *rate.Limiter
	unlogged atomic.Int64 // counts the refusals since the last log line
}

// project has the parsed settings of a Project, and its key set.
type project struct {
	settings atomic.Pointer[settings]
	remote   *remote // nil if the project has no key set
}

// settings are a project's parsed keys and its rules for claims. They are immutable.
type settings struct {
	rules
	keys []any // the secrets ([]byte) and public keys
}

// New makes a Verifier. It does no I/O: Run fetches the key sets.
func New(c Config) (*Verifier, error) {
	v := &Verifier{
		projects: make(map[string]*project, len(c.Projects)),
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				ForceAttemptHTTP2:      true,
				MaxIdleConnsPerHost:    1,
				IdleConnTimeout:        time.Minute,
				MaxResponseHeaderBytes: 64 << 10,
			},
			// Do not follow redirects: keys come only from the configured URL.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		logger: c.Logger,
		limit:  rate.NewLimiter(rate.Every(logEvery), logBurst),
	}
	for i := range c.Projects {
		from, p := &c.Projects[i], &project{}
		if from.Keys.JWKSURL != "" {
			var err error
			if p.remote, err = newRemote(from.Keys.JWKSURL, v.client, c.Logger); err != nil {
				return nil, err
			}
			v.remotes = append(v.remotes, p.remote)
		}
		s, err := p.read(from)
		if err != nil {
			return nil, err
		}
		p.settings.Store(s)
		v.projects[from.App] = p
	}
	v.metrics = newMetrics(c.Registerer, v.remotes)
	for _, r := range v.remotes {
		r.fetches = v.metrics.fetches
	}
	return v, nil
}

// read parses the settings for a project's credentials, except for the key set.
func (p *project) read(from *Project) (*settings, error) {
	keys, err := readKeys(&from.Keys)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 && p.remote == nil {
		return nil, errors.New("jwt-secret: is missing; want this, --jwt-public-key-file or --jwks-url, to verify credentials, or --auth=none for trials on this machine")
	}
	return &settings{rules{from.App, from.Audience, from.Issuer}, keys}, nil
}

// Update replaces the secrets, public keys, audiences and issuers of some projects. It does not change their key sets.
// If Update returns an error, nothing has changed.
func (v *Verifier) Update(projects ...Project) error {
	all := make([]*settings, len(projects))
	for i := range projects {
		app := projects[i].App
		p := v.projects[app]
		if p == nil {
			return fmt.Errorf("there is no project %s", app)
		}
		var err error
		if all[i], err = p.read(&projects[i]); err != nil {
			return fmt.Errorf("project %s: %w", app, err)
		}
	}
	for _, s := range all {
		v.projects[s.app].settings.Store(s)
	}
	return nil
}

// HasKeys reports whether any project has a configured key, or a key set that was fetched at least
// once.
func (v *Verifier) HasKeys() bool {
	for _, p := range v.projects {
		if len(p.settings.Load().keys) > 0 || p.remote.set.Load() != nil {
			return true
		}
	}
	return false
}

// Run fetches the key sets periodically until ctx is done. If no project has a key set, Run only waits until ctx is done.
func (v *Verifier) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, r := range v.remotes {
		running.Go(func() { r.run(ctx) })
	}
	<-ctx.Done()
	running.Wait()
	v.client.CloseIdleConnections()
}

// Verify returns the caller of a credential. Its error is a *RefusedError that wraps the
// *session.Error for the caller; Verify has counted and logged it. If the credential names a key
// that has to be fetched first, Verify may wait for up to 2 s, unless ctx is done earlier.
func (v *Verifier) Verify(ctx context.Context, credential string) (session.Caller, error) {
	s, err := parse(credential)
	var c session.Caller
	if err == nil {
		c, err = v.verify(ctx, s)
	}
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		v.report(refused, s.header.Kid)
		return session.Caller{}, err
	}
	v.metrics.credentials.WithLabelValues("ok").Inc()
	return c, nil
}

// verify checks a decoded credential. Its error is a *RefusedError.
func (v *Verifier) verify(ctx context.Context, s *signed) (session.Caller, error) {
	p, err := v.project(s)
	if err != nil {
		return session.Caller{}, err
	}
	settings := p.settings.Load()
	if err := s.verify(ctx, settings.keys, p.remote); err != nil {
		return session.Caller{}, err
	}
	return settings.caller(s.claims)
}

// project returns the only project, or the project that the claims name. The claims are not verified yet. They only
// choose the keys with which the credential is then verified.
func (v *Verifier) project(s *signed) (*project, error) {
	if len(v.projects) == 1 {
		for _, only := range v.projects {
			return only, nil
		}
	}
	var unsigned struct {
		App string `json:"app"`
	}
	if err := unmarshal(s.claims, &unsigned); err != nil {
		return nil, err
	}
	if p := v.projects[unsigned.App]; p != nil {
		return p, nil
	}
	return nil, refuse(ReasonApp, "names no project of this service")
}

// report counts a refusal, and logs it at a limited rate. The kid is the key id in the credential.
func (v *Verifier) report(r *RefusedError, kid string) {
	v.metrics.credentials.WithLabelValues(string(r.Reason)).Inc()
	if !v.limit.Allow() {
		v.unlogged.Add(1)
		return
	}
	attrs := []any{"reason", string(r.Reason), "unlogged", v.unlogged.Swap(0)}
	if r.Detail != "" {
		attrs = append(attrs, "detail", r.Detail)
	}
	if kid != "" {
		attrs = append(attrs, "kid", fmt.Sprintf("%q", kid[:min(len(kid), maxLoggedKid)]))
	}
	v.logger.Info("credential refused", attrs...)
}

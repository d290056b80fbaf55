package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"refresher/web/demo/edge"
)

const (
	defaultMaxEdges = 64
	defaultGrace    = 15 * time.Second
)

// Config has the parts and settings of a Demo. AppID, the lifetimes, WarnBefore and Logger
// are required.
type Config struct {
	// AppID is the Agora project's, or a random one.
	AppID string
	// Version is the version of the service, which the page shows.
	Version string
	// TTL is the lifetime of tokens if the page requests no other lifetime.
	TTL time.Duration
	// MinTTL and MaxTTL are the shortest and longest lifetime that the service grants.
	MinTTL, MaxTTL time.Duration
	// WarnBefore is how long before the expiry of a token Edge or Agora warns the client.
	WarnBefore time.Duration

	// WithoutPage leaves only the browser library and the simulated edge, for a page that another server serves.
	WithoutPage bool
	// Real makes the page use Agora's own SDK, from Agora's servers. The calls then run through Agora, and not through
	// Edge.
	Real bool
	// Edge is the simulated edge through which the calls run, unless Real is set. Demo does not close it.
	Edge *edge.Edge
	// MaxEdges is the largest number of open connections to Edge. 0 means 64.
	MaxEdges int

	// Certificate is the App Certificate that the service signs with and Edge accepts. Sign makes the service sign with
	// the first of `certificates` and accept the others, and returns the fingerprint of the first once the service
	// signs with it. After an error of Sign, the service signs as before. If Sign is nil, the certificate cannot be
	// replaced.
	Certificate string
	Sign        func(ctx context.Context, certificates []string) (fingerprint string, err error)
	// Grace is how long Edge accepts a certificate after it was replaced. 0 means 15 s.
	Grace time.Duration

	Logger *slog.Logger
}

// Demo serves the demo page and its endpoints. It is safe for concurrent use.
type Demo struct {
	config Config
	policy string
	files  map[string]*file // by path
	about  []byte           // body of config.json

	ctx   context.Context // when it ends, all connections to the simulated edge and a running rotation are stopped
	stop  context.CancelFunc
	parts sync.WaitGroup // goroutines that the end of ctx stops

	mu       sync.Mutex
	closed   bool     // guarded by mu; once it is set, no goroutine is added to parts
	edges    int      // guarded by mu; number of open connections to the simulated edge
	rotation rotation // guarded by mu
}

// New returns a Demo. It starts no goroutines.
func New(c Config) (*Demo, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if c.MaxEdges == 0 {
		c.MaxEdges = defaultMaxEdges
	}
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	d := &Demo{config: c, policy: policy, rotation: rotation{certificate: c.Certificate}}
	if c.Real {
		d.policy = realPolicy
	}
	var err error
	if d.files, err = loadFiles(!c.WithoutPage); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	d.about, err = json.Marshal(map[string]any{
		"appId": c.AppID, "real": c.Real, "version": c.Version, "canRotate": c.Sign != nil,
		"ttl": int64(c.TTL / time.Second), "minTtl": int64(c.MinTTL / time.Second), "maxTtl": int64(c.MaxTTL / time.Second), "warnBefore": int64(c.WarnBefore / time.Second),
	})
	if err != nil {
		return nil, fmt.Errorf("demo: encode config.json: %w", err)
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d, nil
}

func (c *Config) check() error {
	switch {
	case c.AppID == "" || c.Logger == nil:
		return errors.New("AppID and Logger are required")
	case c.TTL < time.Second || c.WarnBefore < time.Second:
		return errors.New("TTL, WarnBefore: want 1s or more")
	case c.MinTTL > c.TTL || c.MaxTTL < c.TTL:
		return errors.New("MinTTL, TTL, MaxTTL: want them in this order")
	case c.MaxEdges < 0 || c.Grace < 0:
		return errors.New("MaxEdges, Grace: want 0 (the default) or more")
	case c.Real != (c.Edge == nil):
		return errors.New("want either Real or an Edge")
	case c.WithoutPage && c.Edge == nil:
		return errors.New("want an Edge without the page")
	case (c.Sign != nil) != (c.Certificate != ""), c.Sign != nil && c.Edge == nil:
		return errors.New("want Sign, Certificate and Edge together, or no Sign and no Certificate")
	}
	return nil
}

// Close ends the connections to the simulated edge and a running rotation, and waits until they have ended. After
// Close, the demo refuses new connections and rotations.
func (d *Demo) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stop()
	d.parts.Wait()
}

// Handler returns the handler of all paths of the demo. The handler `metrics` serves /demo/metrics.
func (d *Demo) Handler(metrics http.Handler) http.Handler {
	endpoints := make(map[string]endpoint)
	if !d.config.WithoutPage {
		endpoints["/demo/config.json"] = endpoint{http.MethodGet, d.serveAbout}
		endpoints["/demo/metrics"] = endpoint{http.MethodGet, metrics.ServeHTTP}
		endpoints["/demo/certificate"] = endpoint{http.MethodPost, d.serveRotation}
	}
	if d.config.Edge != nil {
		endpoints["/demo/edge"] = endpoint{http.MethodGet, d.serveEdge}
	}
	for path, f := range d.files {
		endpoints[path] = endpoint{http.MethodGet, f.serve}
	}
	// An http.ServeMux would redirect paths such as "//" instead of answering 404.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", d.policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		e, ok := endpoints[r.URL.Path]
		switch {
		case !ok:
			refuse(w, http.StatusNotFound, "bad_request", "no such page")
		case r.Method != e.method && (r.Method != http.MethodHead || e.method != http.MethodGet):
			h.Set("Allow", e.allow())
			refuse(w, http.StatusMethodNotAllowed, "bad_request", "method not allowed; want "+e.method)
		default:
			e.serve(w, r)
		}
	})
}

type endpoint struct {
	method string
	serve  http.HandlerFunc
}

func (e *endpoint) allow() string {
	if e.method == http.MethodGet {
		return "GET, HEAD"
	}
	return e.method
}

func (d *Demo) serveAbout(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, d.about)
}

// refuse answers with an error in the form of the service's errors.
func refuse(w http.ResponseWriter, status int, code, message string) {
	body, err := json.Marshal(map[string]any{"error": message, "code": code, "status": status})
	if err != nil {
		panic(err) // cannot fail for strings and a number
	}
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the write fails only if the client has gone
}

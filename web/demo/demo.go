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
	// Version is the service's, which the page shows.
	Version string
	// TTL is the lifetime of tokens if the page asks for none.
	TTL time.Duration
	// MinTTL and MaxTTL are the shortest and longest lifetime that the service grants.
	MinTTL, MaxTTL time.Duration
	// WarnBefore is how long before the expiry of a token the client gets a warning from Edge or Agora.
	WarnBefore time.Duration

	// WithoutPage leaves out the page and its endpoints: the edge, for other pages, and
	// the browser library remain.
	WithoutPage bool
	// Real makes the page use Agora's own SDK, from Agora's servers: Agora holds the
	// call, not Edge.
	Real bool
	// Edge holds the calls unless Real is set. Demo does not close it.
	Edge *edge.Edge
	// MaxEdges limits the connections to Edge that are open at once. 0 means 64.
	MaxEdges int

	// Certificate is the App Certificate that the service signs with and Edge
	// accepts. Sign makes the service sign with the first of `certificates`, and accept the others. It returns the
	// fingerprint of the first one once the service signs with it. If it fails, nothing has changed. If Sign is nil,
	// the certificate cannot be replaced.
	Certificate string
	Sign        func(ctx context.Context, certificates []string) (fingerprint string, err error)
	// Grace is how long Edge accepts a certificate after its replacement. 0 means
	// 15 s.
	Grace time.Duration

	Logger *slog.Logger
}

// Demo serves the demo page and its endpoints. It is safe for concurrent use.
type Demo struct {
	config Config
	policy string
	files  map[string]*file // by path
	about  []byte           // the body of config.json

	ctx   context.Context // ends connections to the edge and a running rotation
	stop  context.CancelFunc
	parts sync.WaitGroup // counts the goroutines that ctx ends

	mu       sync.Mutex
	closed   bool     // guarded by mu; no goroutine is added to parts after it is set
	edges    int      // guarded by mu; open connections to the edge
	rotation rotation // guarded by mu
}

// New returns a Demo. It starts no goroutine.
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

// Close ends the connections to the edge and a running rotation, and waits until they have ended. Later requests for a
// connection or a rotation are refused.
func (d *Demo) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stop()
	d.parts.Wait()
}

// Handler returns the handler of the demo; the handler `metrics` serves /demo/metrics.
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
	// Not http.ServeMux, which redirects paths such as "//" instead of answering 404.
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

// endpoint is the handler of one path, for one method.
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

// serveAbout answers GET /demo/config.json.
func (d *Demo) serveAbout(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, d.about)
}

// refuse answers with an error in the form of the service's own errors.
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
	_, _ = w.Write(body) // fails if the client has gone, which needs no answer
}

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

// Config is what a Demo needs. AppID, the lifetimes, WarnBefore and Logger are required.
type Config struct {
	// AppID is that of the Agora project, or one made up.
	AppID string
	// Version is that of the service, for the page to show.
	Version string
	// TTL is how long tokens live if nobody asks for anything else.
	TTL time.Duration
	// MinTTL and MaxTTL are what the service lets them live.
	MinTTL, MaxTTL time.Duration
	// WarnBefore is how long before the end of a token its holder is warned, by
	// Edge or by Agora.
	WarnBefore time.Duration

	// Real has the page use Agora's own SDK, from Agora's servers, and hold the
	// call there. Otherwise Edge holds it.
	Real bool
	// Edge holds the calls unless Real. It is not closed here.
	Edge *edge.Edge
	// MaxEdges is how many connections to Edge may be open at once. Zero means 64.
	MaxEdges int

	// Certificate is the App Certificate that the service signs with and Edge
	// accepts, and Sign has the service sign with the first of certificates and
	// know the others. Sign returns when it does, with the fingerprint of the
	// first; on an error nothing has changed. Nil: the certificate cannot be
	// replaced.
	Certificate string
	Sign        func(ctx context.Context, certificates []string) (fingerprint string, err error)
	// Grace is how long Edge accepts a certificate that was replaced. Zero means
	// 15 s.
	Grace time.Duration

	Logger *slog.Logger
}

// Demo is the demo page with what it needs. It is safe for concurrent use.
type Demo struct {
	config Config
	policy string
	files  map[string]*file // by path
	about  []byte           // config.json

	ctx   context.Context // of all that outlives its request
	stop  context.CancelFunc
	parts sync.WaitGroup // what ctx ends

	mu     sync.Mutex
	closed bool // guarded by mu; nothing is added to parts any more
	edges  int  // guarded by mu
	roll   roll // guarded by mu
}

// New makes a Demo, which starts nothing by itself.
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
	d := &Demo{config: c, policy: policy, roll: roll{certificate: c.Certificate}}
	if c.Real {
		d.policy = realPolicy
	}
	var err error
	if d.files, err = loadFiles(); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	d.about, err = json.Marshal(map[string]any{
		"appId": c.AppID, "real": c.Real, "version": c.Version, "canRoll": c.Sign != nil,
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
	case (c.Sign != nil) != (c.Certificate != ""), c.Sign != nil && c.Edge == nil:
		return errors.New("want Sign, Certificate and Edge together, or no Sign and no Certificate")
	}
	return nil
}

// Close ends the connections to the edge, and waits until nothing is left that
// came of a request. What is asked for later is refused.
func (d *Demo) Close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stop()
	d.parts.Wait()
}

// Handler serves the demo; metrics serves those of the service.
func (d *Demo) Handler(metrics http.Handler) http.Handler {
	endpoints := map[string]endpoint{
		"/demo/config.json": {http.MethodGet, d.serveAbout},
		"/demo/metrics":     {http.MethodGet, metrics.ServeHTTP},
		"/demo/certificate": {http.MethodPost, d.serveRoll},
	}
	if d.config.Edge != nil {
		endpoints["/demo/edge"] = endpoint{http.MethodGet, d.serveEdge}
	}
	for path, f := range d.files {
		endpoints[path] = endpoint{http.MethodGet, f.serve}
	}
	// No http.ServeMux: it answers paths that it thinks unclean with redirects.
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

// endpoint is what is behind a path.
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

// refuse answers with an error in the form of the service's own.
func refuse(w http.ResponseWriter, status int, code, message string) {
	body, err := json.Marshal(map[string]any{"error": message, "code": code, "status": status})
	if err != nil {
		panic(err) // of strings and a number
	}
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has gone needs no answer
}

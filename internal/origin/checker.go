package origin

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Config is what a Checker needs.
type Config struct {
	// Allowed are the origins that may talk to the service besides its own.
	Allowed []string
	// LocalOnly is set for a service that serves this machine alone, without credentials. A
	// web page elsewhere could reach it by a host name that resolves to a loopback address
	// (DNS rebinding), so requests have to name a loopback host.
	LocalOnly  bool
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// The log has logBurst lines about refusals at once, then one each logEvery.
const (
	logEvery = 10 * time.Second
	logBurst = 5
)

// Checker decides which web pages may talk to the service. It is safe for concurrent
// use.
type Checker struct {
	policy   policy
	allowed  []string // the settings, for the log
	logger   *slog.Logger
	refused  prometheus.Counter
	lines    *rate.Limiter
	unlogged atomic.Int64 // refusals since the last line
}

// New makes a Checker.
func New(c Config) (*Checker, error) {
	p, err := newPolicy(c.Allowed)
	if err != nil {
		return nil, err
	}
	p.localOnly = c.LocalOnly
	k := &Checker{
		policy: p, allowed: append([]string{}, c.Allowed...), logger: c.Logger, lines: rate.NewLimiter(rate.Every(logEvery), logBurst),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "refresher_origins_refused_total",
			Help: "Requests of web pages whose origin is not allowed: WebSocket handshakes, and HTTP requests whose answers the pages may not read.",
		}),
	}
	return k, c.Registerer.Register(k.refused)
}

// LocalOnly is that of the Config.
func (k *Checker) LocalOnly() bool { return k.policy.localOnly }

// Misdirected reports whether a service for this machine alone was addressed by another
// machine's name.
func (k *Checker) Misdirected(r *http.Request) bool {
	return k.policy.localOnly && !AddressesLoopback(r.Host)
}

// Allows reports whether the page that sent a request may use the service. A request
// without an Origin header is not from a page, and is allowed. Allows counts refusals and
// logs them at a limited rate, so it is called once for each request.
func (k *Checker) Allows(r *http.Request) bool {
	from := r.Header.Get("Origin")
	if k.policy.allows(from, r.Host) {
		return true
	}
	k.refused.Inc()
	if k.lines.Allow() {
		k.logger.Warn("refused a page, its origin is not allowed; see --allowed-origins",
			"origin", shown(from), "host", shown(r.Host), "allowed", k.allowed, "unlogged", k.unlogged.Swap(0))
	} else {
		k.unlogged.Add(1)
	}
	return false
}

// maxShown is the length to which a client's text is cut in a log line, in bytes.
const maxShown = 128

// shown cuts a client's text for the log, and replaces all but printable ASCII by "?".
func shown(s string) string {
	s = s[:min(len(s), maxShown)]
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

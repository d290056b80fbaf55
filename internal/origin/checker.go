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
	Allowed    []string
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Of refusals the log has one line in logEvery, after logBurst at once.
const (
	logEvery = 10 * time.Second
	logBurst = 5
)

// Checker says which web pages may talk to the service. It is safe for concurrent
// use.
type Checker struct {
	policy   policy
	logger   *slog.Logger
	refused  prometheus.Counter
	lines    *rate.Limiter
	unlogged atomic.Int64 // refusals since the one that was logged last
}

// New makes a Checker.
func New(c Config) (*Checker, error) {
	p, err := newPolicy(c.Allowed)
	if err != nil {
		return nil, err
	}
	k := &Checker{
		policy: p, logger: c.Logger, lines: rate.NewLimiter(rate.Every(logEvery), logBurst),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "refresher_origins_refused_total",
			Help: "Requests of web pages whose origin is not allowed: WebSocket handshakes, and HTTP requests whose answers the pages may not read.",
		}),
	}
	return k, c.Registerer.Register(k.refused)
}

// Allows reports whether the page that sent a request may use the service. A request
// without an Origin header is not from a page, and is allowed. Refusals are counted,
// and logged at a limited rate.
func (k *Checker) Allows(r *http.Request) bool {
	from := r.Header.Get("Origin")
	if k.policy.allows(from, r.Host) {
		return true
	}
	k.refused.Inc()
	if k.lines.Allow() {
		k.logger.Warn("refused a page, its origin is not allowed; see --allowed-origins",
			"origin", shown(from), "host", shown(r.Host), "unlogged", k.unlogged.Swap(0))
	} else {
		k.unlogged.Add(1)
	}
	return false
}

// maxShown bounds text of a client in a log line, in bytes.
const maxShown = 128

// shown shortens text of a client for the log, and replaces all but printable ASCII.
func shown(s string) string {
	s = s[:min(len(s), maxShown)]
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

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

// Config configures a Checker.
type Config struct {
	// Allowed are the origins that may use the service, besides the service's own origin.
	Allowed []string
	// LocalOnly is set for a service that serves only this machine, without credentials. A remote web page could reach
	// such a service by a host name that resolves to a loopback address (DNS rebinding). So the Host header of each
	// request must name a loopback host.
	LocalOnly  bool
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Refusals are logged at a limited rate: up to logBurst lines at once, then one every logEvery.
const (
	logEvery = 10 * time.Second
	logBurst = 5
)

// Checker decides which web pages may use the service. It is safe for concurrent use.
type Checker struct {
	policy   policy
	allowed  []string // the settings as the operator wrote them, for log lines
	logger   *slog.Logger
	refused  prometheus.Counter
	lines    *rate.Limiter
	unlogged atomic.Int64 // counts the refusals since the last log line
}

// New returns a Checker, or an error if one of the settings is invalid.
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

// LocalOnly reports whether the service serves only this machine; Config.LocalOnly has the reason.
func (k *Checker) LocalOnly() bool { return k.policy.localOnly }

// Misdirected reports whether the service is LocalOnly and the request names another host than this machine.
func (k *Checker) Misdirected(r *http.Request) bool {
	return k.policy.localOnly && !AddressesLoopback(r.Host)
}

// Allows reports whether the web page that sent a request may use the service. Requests without an Origin
// header do not come from a web page and are allowed. Allows counts refusals and logs some of them, so call
// it once per request.
func (k *Checker) Allows(r *http.Request) bool {
	from := r.Header.Get("Origin")
	if k.policy.allows(from, r.Host) {
		return true
	}
	k.refused.Inc()
	if k.lines.Allow() {
		k.logger.Warn("page refused, its origin is not allowed; see --allowed-origins",
			"origin", shown(from), "host", shown(r.Host), "allowed", k.allowed, "unlogged", k.unlogged.Swap(0))
	} else {
		k.unlogged.Add(1)
	}
	return false
}

const maxShown = 128 // bytes

// shown prepares a client's text for a log line: it cuts the text to maxShown, and replaces every character
// that is not printable ASCII by "?".
func shown(s string) string {
	s = s[:min(len(s), maxShown)]
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

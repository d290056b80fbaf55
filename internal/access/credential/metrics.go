package credential

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	ok      prometheus.Counter
	refused map[Reason]prometheus.Counter // looked up once, for a flood of credentials
	fetches *prometheus.CounterVec        // by outcome
}

// newMetrics registers the metrics; those of key sets only where there are some.
func newMetrics(r prometheus.Registerer, remotes []*remote) *metrics {
	credentials := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_credentials_total",
		Help: "Credentials checked, by outcome: ok, or why it was refused.",
	}, []string{"outcome"})
	m := &metrics{ok: credentials.WithLabelValues("ok"), refused: make(map[Reason]prometheus.Counter, len(reasons))}
	for _, why := range reasons {
		m.refused[why] = credentials.WithLabelValues(string(why))
	}
	m.fetches = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_jwks_fetches_total",
		Help: "Fetches of key sets, by outcome: ok or failed.",
	}, []string{"outcome"})
	m.fetches.WithLabelValues("ok")
	m.fetches.WithLabelValues("failed")
	r.MustRegister(credentials)
	if len(remotes) == 0 {
		return m
	}
	begin := time.Now()
	r.MustRegister(m.fetches, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_jwks_age_seconds",
		Help: "Time since the key set was fetched; of several, the oldest.",
	}, func() float64 {
		oldest := time.Duration(0)
		for _, s := range remotes {
			oldest = max(oldest, s.age(begin))
		}
		return oldest.Seconds()
	}))
	return m
}

// fetched counts a fetch of a key set.
func (m *metrics) fetched(ok bool) {
	outcome := "ok"
	if !ok {
		outcome = "failed"
	}
	m.fetches.WithLabelValues(outcome).Inc()
}

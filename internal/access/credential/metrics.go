package credential

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts credentials and fetches of key sets, by outcome.
type metrics struct{ credentials, fetches *prometheus.CounterVec }

// newMetrics registers the metrics. If no project has a key set, the metrics of key sets are left out.
func newMetrics(r prometheus.Registerer, remotes []*remote) metrics {
	m := metrics{
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_credentials_total",
			Help: "Credentials checked, by outcome: ok, or the reason for the refusal.",
		}, []string{"outcome"}),
		prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_jwks_fetches_total",
			Help: "Fetches of key sets, by outcome: ok or failed.",
		}, []string{"outcome"}),
	}
	m.credentials.WithLabelValues("ok")
	for _, why := range reasons {
		m.credentials.WithLabelValues(string(why))
	}
	m.fetches.WithLabelValues("ok")
	m.fetches.WithLabelValues("failed")
	r.MustRegister(m.credentials)
	if len(remotes) == 0 {
		return m
	}
	begin := time.Now()
	r.MustRegister(m.fetches, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_jwks_age_seconds",
		Help: "Time since the last fetch of the key set; with several key sets, of the oldest.",
	}, func() float64 {
		oldest := time.Duration(0)
		for _, s := range remotes {
			oldest = max(oldest, s.age(begin))
		}
		return oldest.Seconds()
	}))
	return m
}

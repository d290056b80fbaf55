package scheduler

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"refresher/internal/histogram"
	"refresher/internal/session"
)

// atRiskUnder is the remaining lifetime of a client's tokens below which a session with an
// unconfirmed renewal counts as at risk. Agora's SDK, too, warns its app 30 s before the expiry.
const atRiskUnder = 30 * time.Second

// lookAhead holds the bucket bounds of the metric refresher_schedule_due_seconds.
var lookAhead = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}

// metrics counts events. The key of each map is the value of the metric's label.
type metrics struct {
	sessions                               map[session.State]prometheus.Gauge
	renewals, tokensExpired, pushes, moves map[string]prometheus.Counter
	errors                                 prometheus.Counter
	lag, ack, margin                       prometheus.Histogram
	outlook                                *outlook
}

func newMetrics(s *Scheduler, r prometheus.Registerer) *metrics {
	auto := promauto.With(r)
	sessions := auto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "refresher_sessions",
		Help: "Sessions that this node keeps: attached to a connection, or detached and waiting for their client.",
	}, []string{"state"})
	by := func(vec *prometheus.CounterVec, values ...string) map[string]prometheus.Counter {
		all := make(map[string]prometheus.Counter)
		for _, value := range values {
			all[value] = vec.WithLabelValues(value)
		}
		return all
	}
	m := &metrics{
		sessions: map[session.State]prometheus.Gauge{
			session.Attached: sessions.WithLabelValues("attached"), session.Detached: sessions.WithLabelValues("detached"),
		},
		renewals: by(auto.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_renewals_total",
			Help: "Renewals by outcome: acked by the client, nacked by its SDK, expired before they were confirmed, ended with their session.",
		}, []string{"outcome"}), "acked", "nacked", "expired", "ended"),
		tokensExpired: by(auto.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_tokens_ran_out_total",
			Help: "Clients whose tokens expired before they confirmed new tokens: attached if the client was connected, else detached.",
		}, []string{"client"}), "attached", "detached"),
		pushes: by(auto.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_pushes_total",
			Help: "Bundles written to their clients: the first time, or repeated because the client did not answer.",
		}, []string{"attempt"}), "first", "repeated"),
		moves: by(auto.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_sessions_moved_total",
			Help: "Sessions that changed their owner: adopted by this node from a dead node, or lost by this node to another node.",
		}, []string{"how"}), "adopted", "lost"),
		errors: auto.NewCounter(prometheus.CounterOpts{
			Name: "refresher_renewal_errors_total",
			Help: "Renewals whose tokens could not be minted. The node tries again after a second.",
		}),
		lag: auto.NewHistogram(histogram.Opts(prometheus.HistogramOpts{
			Name: "refresher_push_lag_seconds", Help: "How long after its due time a push was written.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		})),
		ack: auto.NewHistogram(histogram.Opts(prometheus.HistogramOpts{
			Name: "refresher_ack_seconds", Help: "Time from the last push of a bundle to its ack.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		})),
		margin: auto.NewHistogram(histogram.Opts(prometheus.HistogramOpts{
			Name: "refresher_renewal_margin_seconds", Help: "Remaining life of the client's old tokens when the client confirmed the new tokens.",
			Buckets: []float64{0, 1, 5, 10, 15, 20, 30, 45, 60, 120, 180, 240, 300, 600},
		})),
		outlook: &outlook{s},
	}
	r.MustRegister(m.outlook)
	return m
}

// observe counts an event. The caller holds e's lock.
func (m *metrics) observe(ev *event, e *entry) {
	switch ev.kind {
	case evOpened:
		m.sessions[session.Detached].Inc()
	case evMoved:
		m.sessions[e.counted].Dec()
		if g := m.sessions[e.session.State()]; g != nil {
			g.Inc()
		}
	case evMintFailed:
		m.errors.Inc()
	case evPushing:
		if ev.attempt > 1 {
			m.pushes["repeated"].Inc()
		} else {
			m.pushes["first"].Inc()
		}
	case evTaskDone:
		e.operation.observeValue(m.lag, ev.lag.Seconds())
	case evAcked:
		m.renewals["acked"].Inc()
		e.operation.observeValue(m.margin, ev.acked.Margin.Seconds())
		e.operation.observeValue(m.ack, ev.acked.After.Seconds())
	case evConfirmed:
		m.renewals["acked"].Inc()
		m.margin.Observe(ev.acked.Margin.Seconds())
	case evNacked:
		m.renewals["nacked"].Inc()
	case evTokensExpired:
		m.renewals["expired"].Inc()
		if e.client != nil {
			m.tokensExpired["attached"].Inc() // the client was connected, so the service probably failed to renew in time
		} else {
			m.tokensExpired["detached"].Inc()
		}
	case evEnded:
		if e.session.Unconfirmed() {
			m.renewals["ended"].Inc()
		}
	case evAdopted:
		m.moves["adopted"].Inc()
	case evLost:
		m.moves["lost"].Inc()
	default:
	}
}

// outlook is a Prometheus collector of the gauges that are computed from the queue at each
// scrape.
type outlook struct{ scheduler *Scheduler }

var (
	atRiskDesc = prometheus.NewDesc("refresher_sessions_at_risk",
		"Connected sessions whose tokens expire within 30 s and whose renewal is not confirmed.", nil, nil)
	dueDesc = prometheus.NewDesc("refresher_schedule_due_seconds",
		"Time until each session of this node needs its next renewal or other action.", nil, nil)
	behindDesc = prometheus.NewDesc("refresher_schedule_behind_seconds",
		"How late the most overdue session is; 0 if no session is overdue.", nil, nil)
	certificatesDesc = prometheus.NewDesc("refresher_sessions_by_certificate",
		"Sessions of this node by the fingerprint of the App Certificate that signed their tokens; unknown if the node does not know.", []string{"fingerprint"}, nil)
)

// Describe implements prometheus.Collector.
func (o *outlook) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{atRiskDesc, dueDesc, behindDesc, certificatesDesc} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (o *outlook) Collect(ch chan<- prometheus.Metric) {
	s := o.scheduler
	buckets := make(map[float64]uint64, len(lookAhead))
	for _, span := range lookAhead {
		buckets[span.Seconds()] = 0
	}
	var atRisk, count uint64
	var sum float64
	var behind time.Duration
	certificates := s.signers.current()
	now := s.clock.now().Mono
	s.table.each(func(in *slot, due, expires time.Duration) {
		if in.atRisk && expires-now < atRiskUnder {
			atRisk++
		}
		certificates[in.certificate]++
		behind = max(behind, now-due)
		wait := max(0, due-now)
		count++
		sum += wait.Seconds()
		for _, span := range lookAhead {
			if wait <= span {
				buckets[span.Seconds()]++
			}
		}
	})
	ch <- prometheus.MustNewConstMetric(atRiskDesc, prometheus.GaugeValue, float64(atRisk))
	ch <- prometheus.MustNewConstHistogram(dueDesc, count, sum, buckets)
	ch <- prometheus.MustNewConstMetric(behindDesc, prometheus.GaugeValue, behind.Seconds())
	for certificate, sessions := range certificates {
		ch <- prometheus.MustNewConstMetric(certificatesDesc, prometheus.GaugeValue, float64(sessions), cmp.Or(certificate.String(), "unknown"))
	}
}

package scheduler

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/histogram"
	"refresher/internal/session"
)

// atRiskUnder is how little life may be left in a client's tokens, while their
// renewal is unconfirmed, before the session counts as at risk. Agora's own
// warning comes 30 s before the end.
const atRiskUnder = 30 * time.Second

// lookAhead are the spans, in seconds, that sessions falling due are counted
// for.
var lookAhead = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}

type metrics struct {
	sessions map[session.State]prometheus.Gauge
	renewals struct{ acked, nacked, expired, ended prometheus.Counter }
	ranOut   struct{ attached, detached prometheus.Counter }
	errors   prometheus.Counter
	pushes   struct{ first, repeated prometheus.Counter }
	lag      prometheus.Histogram
	ack      prometheus.Histogram
	margin   prometheus.Histogram

	adopted, lost prometheus.Counter

	outlook *outlook
}

func newMetrics(s *Scheduler, r prometheus.Registerer) *metrics {
	sessions := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "refresher_sessions",
		Help: "Sessions that this node keeps: attached to a connection, or detached and waiting for their client.",
	}, []string{"state"})
	renewals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_renewals_total",
		Help: "Renewals by outcome: acked by the client, nacked by its SDK, expired before they were confirmed, ended with their session.",
	}, []string{"outcome"})
	m := &metrics{
		sessions: map[session.State]prometheus.Gauge{
			session.Attached: sessions.WithLabelValues("attached"),
			session.Detached: sessions.WithLabelValues("detached"),
		},
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "refresher_renewal_errors_total",
			Help: "Renewals whose tokens could not be minted. Each is tried again after a second.",
		}),
		lag: prometheus.NewHistogram(histogram.Opts(prometheus.HistogramOpts{
			Name:    "refresher_push_lag_seconds",
			Help:    "How long after its due time a push was written.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		})),
		ack: prometheus.NewHistogram(histogram.Opts(prometheus.HistogramOpts{
			Name:    "refresher_ack_seconds",
			Help:    "Time from the last push of a bundle to its ack.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		})),
		margin: prometheus.NewHistogram(histogram.Opts(prometheus.HistogramOpts{
			Name:    "refresher_renewal_margin_seconds",
			Help:    "Life left in the client's old tokens when it confirmed the new ones.",
			Buckets: []float64{0, 1, 5, 10, 15, 20, 30, 45, 60, 120, 180, 240, 300, 600},
		})),
	}
	moves := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_sessions_moved_total",
		Help: "Sessions that changed their node: adopted by this one from a node that is gone, or lost by this one to another.",
	}, []string{"how"})
	m.adopted, m.lost = moves.WithLabelValues("adopted"), moves.WithLabelValues("lost")
	m.renewals.acked = renewals.WithLabelValues("acked")
	m.renewals.nacked = renewals.WithLabelValues("nacked")
	m.renewals.expired = renewals.WithLabelValues("expired")
	m.renewals.ended = renewals.WithLabelValues("ended")
	ranOut := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_tokens_ran_out_total",
		Help: "Clients whose tokens ran out before they confirmed new ones: attached to a connection all the same, or detached.",
	}, []string{"client"})
	m.ranOut.attached, m.ranOut.detached = ranOut.WithLabelValues("attached"), ranOut.WithLabelValues("detached")
	pushes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_pushes_total",
		Help: "Bundles written to their clients: the first time, or repeated because the client did not answer.",
	}, []string{"attempt"})
	m.pushes.first, m.pushes.repeated = pushes.WithLabelValues("first"), pushes.WithLabelValues("repeated")
	m.outlook = &outlook{
		scheduler: s,
		atRisk: prometheus.NewDesc("refresher_sessions_at_risk",
			"Sessions whose renewal is unconfirmed and whose tokens run out in less than 30 s.", nil, nil),
		due: prometheus.NewDesc("refresher_schedule_due_seconds",
			"The schedule as it stands: in how many seconds the sessions next fall due.", nil, nil),
		behind: prometheus.NewDesc("refresher_schedule_behind_seconds",
			"How late the most overdue session is. 0: none is.", nil, nil),
		certificates: prometheus.NewDesc("refresher_sessions_by_certificate",
			"Sessions of this node by the fingerprint of the App Certificate that has signed the tokens they hold; unknown where the node cannot tell.", []string{"fingerprint"}, nil),
	}
	r.MustRegister(sessions, renewals, ranOut, moves, pushes, m.errors, m.lag, m.ack, m.margin, m.outlook)
	return m
}

// observe counts an event. e's lock is held.
func (m *metrics) observe(ev *event, e *entry) {
	switch ev.kind {
	case evOpened:
		m.sessions[session.Detached].Inc()
	case evMoved:
		m.sessions[e.counted].Dec()
		if g := m.sessions[e.session.State()]; g != nil {
			g.Inc()
		}
	case evUnminted:
		m.errors.Inc()
	case evPushing:
		if ev.push.Attempt > 1 {
			m.pushes.repeated.Inc()
		} else {
			m.pushes.first.Inc()
		}
	case evServed:
		e.operation.observeValue(m.lag, ev.lag.Seconds())
	case evAcked:
		m.renewals.acked.Inc()
		e.operation.observeValue(m.margin, ev.acked.Margin.Seconds())
		e.operation.observeValue(m.ack, ev.acked.After.Seconds())
	case evConfirmed:
		m.renewals.acked.Inc()
		m.margin.Observe(ev.acked.Margin.Seconds())
	case evNacked:
		m.renewals.nacked.Inc()
	case evRanOut:
		m.renewals.expired.Inc()
		if e.client != nil {
			m.ranOut.attached.Inc() // the service's own failure, most likely
		} else {
			m.ranOut.detached.Inc()
		}
	case evEnded:
		if e.session.Unconfirmed() {
			m.renewals.ended.Inc()
		}
	case evAdopted:
		m.adopted.Inc()
	case evLost:
		m.lost.Inc()
	default:
	}
}

// outlook reads from the queue, at each scrape, what lies ahead.
type outlook struct {
	scheduler           *Scheduler
	atRisk, due, behind *prometheus.Desc
	certificates        *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (o *outlook) Describe(ch chan<- *prometheus.Desc) {
	ch <- o.atRisk
	ch <- o.due
	ch <- o.behind
	ch <- o.certificates
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
	ch <- prometheus.MustNewConstMetric(o.atRisk, prometheus.GaugeValue, float64(atRisk))
	ch <- prometheus.MustNewConstHistogram(o.due, count, sum, buckets)
	ch <- prometheus.MustNewConstMetric(o.behind, prometheus.GaugeValue, behind.Seconds())
	for certificate, sessions := range certificates {
		ch <- prometheus.MustNewConstMetric(o.certificates, prometheus.GaugeValue, float64(sessions), cmp.Or(certificate.String(), "unknown"))
	}
}

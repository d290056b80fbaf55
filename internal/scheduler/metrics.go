package scheduler

import (
	"cmp"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/histogram"
	"refresher/internal/session"
	"refresher/internal/store"
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

	wishes *prometheus.CounterVec

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
	m.wishes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_wishes_total",
		Help: "Changes of one session that operators asked this node for, by kind and outcome: applied, pending (its node has not confirmed yet), unstored (done here while the store is away), failed (the store is away, and the session is elsewhere).",
	}, []string{"kind", "outcome"})
	for _, kind := range []store.WishKind{store.WishRenew, store.WishRole, store.WishEnd} {
		for _, outcome := range []string{"applied", "pending", "unstored", "failed"} {
			m.wishes.WithLabelValues(kind.String(), outcome)
		}
	}
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
	r.MustRegister(sessions, renewals, ranOut, moves, pushes, m.wishes, m.errors, m.lag, m.ack, m.margin, &storeState{
		outbox: &s.outbox,
		up: prometheus.NewDesc("refresher_store_up",
			"1 while all of the store can be reached, else 0.", nil, nil),
		unwritten: prometheus.NewDesc("refresher_store_unwritten",
			"Sessions whose last change the store was not told of yet.", nil, nil),
		dropped: prometheus.NewDesc("refresher_store_dropped_total",
			"Ends of sessions that the store will not be told of: too many waited for it.", nil, nil),
	}, m.outlook)
	return m
}

// wished counts an operator's wish, unless it was at fault.
func (m *metrics) wished(kind store.WishKind, result *store.WishResult, err error) {
	outcome := "applied"
	switch refused, _ := errors.AsType[*session.Error](err); {
	case refused != nil && refused.Code != session.CodeUnavailable:
		return
	case err != nil:
		outcome = "failed"
	case !result.Stored:
		outcome = "unstored"
	case !result.Applied:
		outcome = "pending"
	}
	m.wishes.WithLabelValues(kind.String(), outcome).Inc()
}

// moved counts a session's change of state.
func (m *metrics) moved(from, to session.State) {
	if from == to {
		return
	}
	m.sessions[from].Dec()
	if g := m.sessions[to]; g != nil {
		g.Inc()
	}
}

// acked counts a confirmed renewal.
func (m *metrics) acked(a session.Acked, t *trail) {
	m.renewals.acked.Inc()
	t.observe(m.margin, a.Margin.Seconds())
}

// pushed counts a bundle that is written to its client.
func (m *metrics) pushed(attempt int) {
	if attempt > 1 {
		m.pushes.repeated.Inc()
	} else {
		m.pushes.first.Inc()
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
	s.mu.Lock()
	now := s.clock.now().Mono
	s.queue.Each(func(e *entry, due, expires time.Duration) {
		if e.atRisk && expires-now < atRiskUnder {
			atRisk++
		}
		certificates[e.certificate]++
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
	s.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(o.atRisk, prometheus.GaugeValue, float64(atRisk))
	ch <- prometheus.MustNewConstHistogram(o.due, count, sum, buckets)
	ch <- prometheus.MustNewConstMetric(o.behind, prometheus.GaugeValue, behind.Seconds())
	for certificate, sessions := range certificates {
		ch <- prometheus.MustNewConstMetric(o.certificates, prometheus.GaugeValue, float64(sessions), cmp.Or(certificate.String(), "unknown"))
	}
}

// storeState reads from the outbox, at each scrape, how the store is.
type storeState struct {
	outbox                 *outbox
	up, unwritten, dropped *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *storeState) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.up
	ch <- c.unwritten
	ch <- c.dropped
}

// Collect implements prometheus.Collector.
func (c *storeState) Collect(ch chan<- prometheus.Metric) {
	away, unsaved, dropped := c.outbox.state()
	up := 1.0
	if away > 0 {
		up = 0
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up)
	ch <- prometheus.MustNewConstMetric(c.unwritten, prometheus.GaugeValue, float64(unsaved))
	ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(dropped))
}

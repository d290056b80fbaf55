package orders

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/store"
)

// kinds are all that there are.
var kinds = []store.OrderKind{store.OrderRevoke, store.OrderRole, store.OrderRenew, store.OrderRotate}

// outcome is what became of an order that was given at this node.
type outcome string

const (
	saved   outcome = "saved"
	unsaved outcome = "unsaved"
	refused outcome = "refused"
)

type metrics struct {
	given *prometheus.CounterVec
}

func newMetrics(b *Book, r prometheus.Registerer) *metrics {
	m := &metrics{given: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_orders_given_total",
		Help: "Orders given at this node, by kind and outcome: saved on the board, unsaved as yet since it was away, refused.",
	}, []string{"kind", "outcome"})}
	for _, k := range kinds {
		for _, o := range []outcome{saved, unsaved, refused} {
			m.given.WithLabelValues(string(k), string(o))
		}
	}
	r.MustRegister(m.given, &state{
		book: b,
		orders: prometheus.NewDesc("refresher_orders",
			"Orders that stand, as far as this node knows.", []string{"kind"}, nil),
		unsaved: prometheus.NewDesc("refresher_orders_unsaved",
			"Orders, or their lifting, that the board was not told of yet.", nil, nil),
	})
	return m
}

// count counts an order that was given. The kind of one that is refused may be
// anything.
func (m *metrics) count(kind store.OrderKind, o outcome) {
	if known(kind) {
		m.given.WithLabelValues(string(kind), string(o)).Inc()
	}
}

// state reads from the book, at each scrape, what it holds.
type state struct {
	book            *Book
	orders, unsaved *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (s *state) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.orders
	ch <- s.unsaved
}

// Collect implements prometheus.Collector.
func (s *state) Collect(ch chan<- prometheus.Metric) {
	b := s.book
	b.mu.RLock()
	standing, unsaved := maps.Clone(b.standing), len(b.unsaved)
	b.mu.RUnlock()
	for _, k := range kinds {
		ch <- prometheus.MustNewConstMetric(s.orders, prometheus.GaugeValue, float64(standing[k]), string(k))
	}
	ch <- prometheus.MustNewConstMetric(s.unsaved, prometheus.GaugeValue, float64(unsaved))
}

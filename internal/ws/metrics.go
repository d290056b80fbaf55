package ws

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/protocol"
)

type metrics struct {
	joins  *prometheus.CounterVec
	closes *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, open func() float64) *metrics {
	m := &metrics{
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_joins_total",
			Help: "First messages of connections, by outcome: joined, resumed, told to reconnect later (drain, overload), ended, lost before the answer, or the error code.",
		}, []string{"outcome"}),
		closes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refresher_connections_closed_total",
			Help: "Closed WebSocket connections by close code: 1006 if the connection broke, other if the protocol does not define the code.",
		}, []string{"code"}),
	}
	r.MustRegister(m.joins, m.closes, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_connections",
		Help: "Open WebSocket connections, including connections without a session.",
	}, open))
	// Create the series now, so that a query for the rate yields 0 before the first count.
	for _, outcome := range []string{"joined", "resumed"} {
		m.joins.WithLabelValues(outcome)
	}
	for _, c := range protocol.CloseCodes() {
		m.closes.WithLabelValues(strconv.Itoa(int(c.Code)))
	}
	return m
}

// closed counts a closed connection by its code. Clients may close with any code, so codes outside the
// protocol share one label.
func (m *metrics) closed(code protocol.CloseCode) {
	label := "other"
	if code.Known() {
		label = strconv.Itoa(int(code))
	}
	m.closes.WithLabelValues(label).Inc()
}

package cluster

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"refresher/internal/session"
	"refresher/internal/store"
)

func (c *Cluster) register(r prometheus.Registerer) {
	auto := promauto.With(r)
	c.wishes = auto.NewCounterVec(prometheus.CounterOpts{
		Name: "refresher_wishes_total",
		Help: "Operators' requests to this node to change a session, by kind and outcome: applied, pending (the owner has not confirmed yet), unstored (applied by this node while Redis is down), failed (Redis is down, and another node owns the session).",
	}, []string{"kind", "outcome"})
	for _, kind := range []store.WishKind{store.WishRenew, store.WishRole, store.WishEnd} {
		for _, outcome := range []string{"applied", "pending", "unstored", "failed"} {
			c.wishes.WithLabelValues(kind.String(), outcome)
		}
	}
	auto.NewGaugeFunc(prometheus.GaugeOpts{Name: "refresher_store_up", Help: "1 while every part of Redis can be reached, else 0."}, func() float64 {
		if away, _, _ := c.pending.state(); away > 0 {
			return 0
		}
		return 1
	})
	auto.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "refresher_store_unwritten",
		Help: "Sessions whose last change is not written to Redis yet.",
	}, func() float64 { _, waiting, _ := c.pending.state(); return float64(waiting) })
	auto.NewCounterFunc(prometheus.CounterOpts{
		Name: "refresher_store_dropped_total",
		Help: "Ends of sessions that will not be written to Redis, since too many waited.",
	}, func() float64 { _, _, dropped := c.pending.state(); return float64(dropped) })
}

// countWish counts an operator's wish by its result. It does not count invalid requests.
func (c *Cluster) countWish(kind store.WishKind, result *store.WishResult, err error) {
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
	c.wishes.WithLabelValues(kind.String(), outcome).Inc()
}

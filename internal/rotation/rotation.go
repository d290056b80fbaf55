package rotation

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// refreshEvery is how often a node publishes its status and reads the other nodes'
	// statuses.
	refreshEvery = 30 * time.Second
	// refreshTimeout limits the time for publishing and reading statuses once.
	refreshTimeout = 5 * time.Second
	// retryEvery is how often a node tries again while the store is down. It is shorter than
	// refreshEvery, since the node's status in the store may be outdated.
	retryEvery = store.SweepEvery
)

// Store has the statuses and the sessions of all nodes.
type Store interface {
	store.Nodes
	store.Lister
}

// Config configures a Tracker.
type Config struct {
	Store Store
	Node  string
	// Projects returns the certificates of the projects that this node serves now, by App ID.
	// Each project has at least one certificate, and the node signs with the first one.
	Projects   func() map[string][]session.Fingerprint
	MaxTTL     time.Duration // maximum lifetime of a token without a session, from the endpoints of the classic token servers
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Tracker records the certificates that the nodes sign with. It is safe for concurrent use.
type Tracker struct {
	config  Config
	wake    chan struct{} // makes Run publish at once
	counter counter

	mu     sync.Mutex
	status status // guarded by mu
}

// New returns a Tracker.
func New(c Config) *Tracker {
	t := &Tracker{config: c, wake: make(chan struct{}, 1)}
	t.status = status{Started: session.SecOf(time.Now()), MaxTTL: int64(c.MaxTTL / time.Second), Projects: make(map[string]signing)}
	t.observe()
	c.Registerer.MustRegister(t)
	return t
}

// Changed must be called after a certificate has changed. It records the new certificates and
// wakes Run, which publishes them. It returns at once.
func (t *Tracker) Changed() {
	t.observe()
	select {
	case t.wake <- struct{}{}:
	default: // a signal already waits, so Run will publish
	}
}

// observe records the certificates that this node signs with, and returns Config.Projects().
func (t *Tracker) observe() map[string][]session.Fingerprint {
	projects := t.config.Projects()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.observe(projects, session.SecOf(time.Now()))
	return projects
}

// Run publishes with which certificates this node signs, and reads the statuses of the other
// nodes, until ctx is done.
func (t *Tracker) Run(ctx context.Context) {
	for away := false; ctx.Err() == nil; {
		_, err := t.refresh(ctx)
		wait := refreshEvery
		if err != nil {
			wait = retryEvery
			if !away && ctx.Err() == nil {
				t.config.Logger.Warn("cannot report this node's App Certificate to the other nodes; trying again", "error", err)
			}
		}
		away = err != nil
		select {
		case <-ctx.Done():
		case <-t.wake:
		case <-time.After(wait):
		}
	}
}

// refresh merges the statuses of the other nodes into this node's status, and publishes this
// node's status. It returns the statuses of all live nodes by name. The status is nil for a
// node that has not published one.
func (t *Tracker) refresh(ctx context.Context) (map[string]*status, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	texts, err := t.config.Store.Statuses(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("read the nodes' statuses: %w", err)
	}
	statuses := make(map[string]*status)
	for node, text := range texts {
		statuses[node] = parseStatus(text)
	}
	delete(statuses, t.config.Node)
	text, err := t.merge(statuses)
	if err == nil {
		err = t.config.Store.SetStatus(ctx, t.config.Node, topic, text)
	}
	if err != nil {
		return nil, fmt.Errorf("write this node's status: %w", err)
	}
	statuses[t.config.Node] = parseStatus(text)
	return statuses, nil
}

// merge merges the statuses of the other nodes into this node's status, and returns that
// status as JSON.
func (t *Tracker) merge(statuses map[string]*status) (string, error) {
	now := session.SecOf(time.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range statuses {
		if s != nil {
			t.status.merge(s, now)
		}
	}
	t.status.expire(now)
	text, err := json.Marshal(&t.status)
	return string(text), err
}

var signs = prometheus.NewDesc("refresher_certificate_signs",
	"1 for each App Certificate with which this node signs tokens, by fingerprint.", []string{"fingerprint"}, nil)

// Describe implements prometheus.Collector.
func (t *Tracker) Describe(ch chan<- *prometheus.Desc) { ch <- signs }

// Collect implements prometheus.Collector.
func (t *Tracker) Collect(ch chan<- prometheus.Metric) {
	seen := make(map[session.Fingerprint]bool) // two projects can have the same certificate, at least in tests; a metric must not appear twice
	for _, certificates := range t.observe() {
		if f := certificates[0]; !seen[f] {
			seen[f] = true
			ch <- prometheus.MustNewConstMetric(signs, prometheus.GaugeValue, 1, f.String())
		}
	}
}

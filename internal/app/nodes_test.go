package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/store"
)

// shared is a store that the nodes of a bubble share, and that can be away for
// all, or for one node that is dead.
type shared struct {
	*store.Memory
	away *atomic.Bool
	dead *atomic.Bool
}

var errAway = errors.New("the store is away")

func (s shared) broken() error {
	if s.away.Load() || s.dead.Load() {
		return errAway
	}
	return nil
}

func (s shared) Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error) {
	if err := s.broken(); err != nil {
		return store.Acquired{}, err
	}
	return s.Memory.Acquire(ctx, g)
}

func (s shared) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	if err := s.broken(); err != nil {
		return make([]store.Outcome, len(records)), err
	}
	return s.Memory.Save(ctx, records)
}

func (s shared) PutRevocations(ctx context.Context, revocations ...store.Revocation) error {
	if err := s.broken(); err != nil {
		return err
	}
	return s.Memory.PutRevocations(ctx, revocations...)
}

func (s shared) Revocations(ctx context.Context, known store.RevocationsVersion) ([]store.Revocation, store.RevocationsVersion, error) {
	if err := s.broken(); err != nil {
		return nil, store.RevocationsVersion{}, err
	}
	return s.Memory.Revocations(ctx, known)
}

func (s shared) WatchRevocations(ctx context.Context, changed func(store.RevocationsChange)) error {
	return s.Memory.WatchRevocations(ctx, func(c store.RevocationsChange) {
		if s.broken() == nil {
			changed(c)
		}
	})
}

func (s shared) PutEnded(ctx context.Context, r store.Revocation, node string, e store.Ended) error {
	if err := s.broken(); err != nil {
		return err
	}
	return s.Memory.PutEnded(ctx, r, node, e)
}

func (s shared) RevocationProgress(ctx context.Context, id string) (store.RevocationProgress, error) {
	if err := s.broken(); err != nil {
		return store.RevocationProgress{}, err
	}
	return s.Memory.RevocationProgress(ctx, id)
}

func (s shared) Sweep(ctx context.Context, node string, do store.Doing) (swept [store.Shards]store.Swept, err error) {
	if err := s.broken(); err != nil {
		for i := range swept {
			swept[i].Err = err
		}
		return swept, err
	}
	return s.Memory.Sweep(ctx, node, do)
}

// service is some nodes behind a balancer.
type service struct {
	*world
	memory *store.Memory
	away   atomic.Bool
	nodes  []*serviceNode
}

type serviceNode struct {
	*node
	address string
	dead    *atomic.Bool
}

func newService(t *testing.T, nodes int) *service {
	s := &service{world: newWorld(t), memory: store.NewMemory(time.Now)}
	for i := range nodes {
		s.nodes = append(s.nodes, s.startOne(i))
	}
	return s
}

func (s *service) startOne(i int) *serviceNode {
	n := &serviceNode{address: fmt.Sprintf("10.0.0.%d:8080", i+1), dead: new(atomic.Bool)}
	n.node = start(s.t, func(c *Config) {
		c.Listen, c.OpsListen = n.address, fmt.Sprintf("10.1.0.%d:9090", i+1)
		c.Insecure, c.DrainWindow = true, 5*time.Second
	}, Outside{Listen: s.network.listen, Store: func(Config, *slog.Logger, prometheus.Registerer) (Store, error) {
		return shared{s.memory, &s.away, n.dead}, nil
	}})
	return n
}

// kill has a node gone at once, and another in its place.
func (s *service) kill(i int) {
	n := s.nodes[i]
	n.dead.Store(true)
	s.network.mu.Lock()
	delete(s.network.ports, n.address)
	s.network.mu.Unlock()
	s.network.cutThose(func(c *cable) bool { return string(c.to) == n.address })
	n.stop()
	s.nodes[i] = s.startOne(i)
}

// deploy stops a node in good order, and starts another in its place.
func (s *service) deploy(i int) {
	s.nodes[i].stop()
	s.nodes[i] = s.startOne(i)
}

// canSpare is whether calls can do without a node now: while the store is away,
// another has to know what was revoked, since one that starts then takes nobody
// (adr/0017).
func (s *service) canSpare(i int) bool {
	others := slices.Delete(slices.Clone(s.nodes), i, i+1)
	return !s.away.Load() || slices.ContainsFunc(others, func(n *serviceNode) bool {
		return !strings.Contains(s.probe(n), "what was revoked")
	})
}

// probe is what a node says of its readiness.
func (s *service) probe(n *serviceNode) string {
	client := &http.Client{Transport: &http.Transport{DialContext: s.network.dial, DisableKeepAlives: true}}
	response, err := client.Get("http://" + n.app.OpsAddr().String() + "/readyz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// Nodes are killed and deployed, connections break, the store is away, empty, or
// both, all at random, for hours: no call notices.
func TestCallsOfManyNodesLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, 3)
		const calls = 20
		for i := range calls {
			s.callAt(balancerAddress, uint32(i+1), 60)
		}
		r := rand.New(rand.NewPCG(3, 4))
		faults := make(map[string]int)
		fault := func(chance float64, what string, f func()) {
			if r.Float64() < chance {
				faults[what]++
				f()
			}
		}
		anyNode := func(do func(i int)) func() {
			return func() {
				if i := r.IntN(len(s.nodes)); s.canSpare(i) {
					do(i)
				}
			}
		}
		for range 2 * 60 * 6 {
			time.Sleep(10 * time.Second) // bubble
			fault(.3, "cuts", func() { s.network.cut(func() bool { return r.IntN(10) == 0 }) })
			fault(.03, "kills", anyNode(s.kill))
			fault(.03, "deployments", anyNode(s.deploy))
			fault(.05, "outages", func() { s.away.Store(true) })
			fault(.2, "returns", func() { s.away.Store(false) })
			fault(.02, "losses", s.memory.Lose)
		}
		s.away.Store(false)
		time.Sleep(time.Minute) // bubble
		if open, _ := s.memory.Len(); open != calls {
			t.Errorf("%d sessions in the store, want %d", open, calls)
		}
		record := s.verdict(calls)
		t.Logf("%d renewals, %v call-seconds lost, at least %.1f s left; %v", s.renewals.Load(), record.Total.LostSeconds, *record.Total.MinMarginSeconds, faults)
	})
}

// All nodes are deployed anew, one after the other, every five minutes.
func TestCallsSurviveRollingRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, 3)
		const calls = 10
		for i := range calls {
			s.callAt(balancerAddress, uint32(i+1), 12)
		}
		for range 4 {
			time.Sleep(5 * time.Minute) // bubble
			for i := range s.nodes {
				s.deploy(i)
			}
		}
		time.Sleep(time.Minute) // bubble
		record := s.verdict(calls)
		t.Logf("%d renewals, %v call-seconds lost, at least %.1f s left", s.renewals.Load(), record.Total.LostSeconds, *record.Total.MinMarginSeconds)
	})
}

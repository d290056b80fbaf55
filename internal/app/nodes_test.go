//go:build !race

package app_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app/apptest"
)

// canSpare reports whether a node may be stopped now. During an outage of the store another node must
// know the revocations, since a node that starts then admits no client (adr/0017).
func canSpare(s *apptest.Cluster, node int) bool {
	for i := range s.Nodes {
		if _, text := s.Ops(i, "/readyz"); i != node && !strings.Contains(text, "what was revoked") {
			return true
		}
	}
	return !s.Away.Load()
}

// For simulated hours, nodes are killed and replaced, connections break, and the store is down or
// loses its data, all at random: no call is lost.
func TestCallsOfManyNodesLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewOpenCluster(t, 3)
		const calls = 20
		for i := range calls {
			s.CallAt(apptest.BalancerAddress, uint32(i+1), 60)
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
				if i := r.IntN(len(s.Nodes)); canSpare(s, i) {
					do(i)
				}
			}
		}
		minutes := 120
		if testing.Short() {
			minutes = 30
		}
		for range minutes * 6 {
			time.Sleep(10 * time.Second) // bubble
			fault(.3, "cuts", func() { s.Network.Cut(func() bool { return r.IntN(10) == 0 }) })
			fault(.03, "kills", anyNode(s.Replace))
			fault(.03, "deployments", anyNode(s.Deploy))
			fault(.05, "outages", func() { s.Away.Store(true) })
			fault(.2, "returns", func() { s.Away.Store(false) })
			fault(.02, "losses", s.Memory.Lose)
		}
		s.Away.Store(false)
		time.Sleep(time.Minute) // bubble
		if open, _ := s.Memory.Len(); open != calls {
			t.Errorf("%d sessions in the store, want %d", open, calls)
		}
		record := s.Verdict(calls)
		t.Logf("%d renewals, %v call-seconds lost, at least %.1f s left; %v", s.Renewals.Load(), record.Total.LostSeconds, *record.Total.MinMarginSeconds, faults)
	})
}

// Rolling restarts of all nodes every five minutes lose no call.
func TestCallsSurviveRollingRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewOpenCluster(t, 3)
		const calls = 10
		for i := range calls {
			s.CallAt(apptest.BalancerAddress, uint32(i+1), 12)
		}
		rounds := 4
		if testing.Short() {
			rounds = 1
		}
		for range rounds {
			time.Sleep(5 * time.Minute) // bubble
			for i := range s.Nodes {
				s.Deploy(i)
			}
		}
		time.Sleep(time.Minute) // bubble
		record := s.Verdict(calls)
		t.Logf("%d renewals, %v call-seconds lost, at least %.1f s left", s.Renewals.Load(), record.Total.LostSeconds, *record.Total.MinMarginSeconds)
	})
}

// A hanging request to the operations port, such as a long profile, delays the end of the process.
// It does not delay the release of the node's lease, so another node takes over the sessions
// meanwhile.
func TestLeaseIsGivenUpWhileARequestToTheOpsPortHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewOpenCluster(t, 1)
		node := s.Nodes[0]
		hanging, err := s.Network.Dial(t.Context(), "tcp", node.App.OpsAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer hanging.Close()
		if _, err := hanging.Write([]byte("GET /metrics HTTP/1.1\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			node.Stop()
		}()
		time.Sleep(3 * time.Second) // bubble; under the 5 s after which a server closes a connection without a request
		select {
		case <-stopped:
			t.Error("the request does not hang")
		default:
		}
		if nodes, err := s.Memory.Statuses(t.Context(), "any"); err != nil || len(nodes) != 0 {
			t.Errorf("it has its lease: %v, %v", nodes, err)
		}
		<-stopped
	})
}

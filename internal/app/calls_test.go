//go:build !race

package app_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
)

func TestCallsOfADayLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := apptest.NewWorld(t)
		w.StartNode()
		ttls := []int64{10, 12, 60, 3600, 86400}
		for i, ttl := range ttls {
			w.Call(uint32(i+1), ttl)
		}
		length := 3 * time.Hour
		if testing.Short() {
			length = 30 * time.Minute
		}
		time.Sleep(length) // bubble
		record := w.Verdict(len(ttls))
		if held, want := record.Total.HeldSeconds, length.Seconds()*float64(2*len(ttls)); held < want-1 {
			t.Errorf("held %v call-seconds of %v", held, want)
		}
	})
}

func TestCallsSurvive(t *testing.T) {
	for name, c := range map[string]struct {
		ttl     int64
		disturb func(w *apptest.World, n *apptest.Node)
	}{
		// Each restart loses the node's memory, so the new node knows the sessions only from the clients' resume keys.
		"broken connections and restarts": {60, func(w *apptest.World, n *apptest.Node) {
			r := rand.New(rand.NewPCG(1, 2))
			minutes := 120
			if testing.Short() {
				minutes = 30
			}
			for minute := range minutes {
				for range 6 {
					time.Sleep(10 * time.Second) // bubble
					w.Network.Cut(func() bool { return r.IntN(10) == 0 })
				}
				if minute%5 == 4 {
					n.Stop()
					n = w.StartNode()
				}
			}
		}},
		// With the default heartbeat, clients notice a half-open connection before their short-lived tokens expire.
		"half-open connections": {30, func(w *apptest.World, _ *apptest.Node) {
			for range 20 {
				time.Sleep(37 * time.Second) // bubble
				w.Network.Unplug()
			}
			time.Sleep(time.Minute) // bubble
		}},
		// The next node has another session secret, so it cannot decrypt the clients' resume keys, and the clients join
		// new sessions.
		"a lost session secret": {60, func(w *apptest.World, n *apptest.Node) {
			time.Sleep(10 * time.Minute) // bubble
			n.Stop()
			w.StartNodeWith(func(c *app.Config) { c.SessionSecret = "another secret that nobody told" })
			time.Sleep(10 * time.Minute) // bubble
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := apptest.NewWorld(t)
				n := w.StartNode()
				const calls = 10
				for i := range calls {
					w.Call(uint32(i+1), c.ttl)
				}
				c.disturb(w, n)
				w.Verdict(calls)
			})
		})
	}
}

func TestCallThatWasAwayForTooLongRejoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := apptest.NewWorld(t)
		n := w.StartNode()
		w.Call(1, 10)
		time.Sleep(time.Minute) // bubble
		n.Stop()
		time.Sleep(30 * time.Second) // bubble
		w.StartNode()
		time.Sleep(time.Minute) // bubble
		for _, c := range w.Edge.Record().Calls {
			if c.Drops != 1 || c.Joins != 2 || c.LostSeconds < 15 || c.LostSeconds > 45 || c.State != "in-call" {
				t.Errorf("call %+v", c)
			}
		}
		w.End()
		w.Calls.Wait()
	})
}

// canSpare reports whether a node may be stopped now. During an outage of the store, a node that starts does not know
// the revocations, and therefore admits no client (adr/0017). A node may then be stopped only if another node knows the
// revocations.
func canSpare(s *apptest.Cluster, node int) bool {
	for i := range s.Nodes {
		if _, text := s.Ops(i, "/readyz"); i != node && !strings.Contains(text, "the revocations have not been loaded") {
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
		fault := func(chance float64, f func()) {
			if r.Float64() < chance {
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
			fault(.3, func() { s.Network.Cut(func() bool { return r.IntN(10) == 0 }) })
			fault(.03, anyNode(s.Replace))
			fault(.03, anyNode(s.Deploy))
			fault(.05, func() { s.Away.Store(true) })
			fault(.2, func() { s.Away.Store(false) })
			fault(.02, s.Memory.Lose)
		}
		s.Away.Store(false)
		time.Sleep(time.Minute) // bubble
		if open, _ := s.Memory.Len(); open != calls {
			t.Errorf("%d sessions in the store, want %d", open, calls)
		}
		s.Verdict(calls)
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

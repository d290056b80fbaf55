//go:build !race

package app_test

import (
	"math/rand/v2"
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
		t.Logf("%d renewals, %v call-seconds lost", w.Renewals.Load(), record.Total.LostSeconds)
	})
}

// Connections break every few seconds, and the node is replaced every few minutes; the new one knows
// only the clients' resume keys. No call is lost.
func TestCallsSurviveBrokenConnectionsAndRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := apptest.NewWorld(t)
		n := w.StartNode()
		const calls = 10
		for i := range calls {
			w.Call(uint32(i+1), 60)
		}
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
		record := w.Verdict(calls)
		t.Logf("%d renewals, %v call-seconds lost, at least %.1f s left", w.Renewals.Load(), record.Total.LostSeconds, *record.Total.MinMarginSeconds)
	})
}

// Both sides notice a half-open connection by the missing heartbeats.
func TestCallsSurviveHalfOpenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := apptest.NewWorld(t)
		w.StartNodeWith(func(c *app.Config) { c.Heartbeat = 5 * time.Second })
		const calls = 5
		for i := range calls {
			w.Call(uint32(i+1), 90)
		}
		for range 10 {
			time.Sleep(2 * time.Minute) // bubble
			w.Network.Unplug()
		}
		time.Sleep(time.Minute) // bubble
		w.Verdict(calls)
	})
}

// With tokens of 30 s and the default heartbeat, clients notice a half-open connection and reconnect
// before the tokens expire.
func TestShortTokensSurviveHalfOpenConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := apptest.NewWorld(t)
		w.StartNode()
		const calls = 5
		for i := range calls {
			w.Call(uint32(i+1), 30)
		}
		for range 20 {
			time.Sleep(37 * time.Second) // bubble
			w.Network.Unplug()
		}
		time.Sleep(time.Minute) // bubble
		w.Verdict(calls)
	})
}

// If a node cannot decrypt a client's resume key, the client joins a new session, and the call continues with the new
// session's tokens.
func TestCallsSurviveALostSessionSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := apptest.NewWorld(t)
		n := w.StartNodeWith(func(c *app.Config) { c.SessionSecret = "the secret of the first node" })
		w.Call(1, 60)
		time.Sleep(10 * time.Minute) // bubble
		n.Stop()
		w.StartNodeWith(func(c *app.Config) { c.SessionSecret = "another secret that nobody told" })
		time.Sleep(10 * time.Minute) // bubble
		w.Verdict(1)
	})
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
		record := w.Edge.Record()
		for _, c := range record.Calls {
			if c.Drops != 1 || c.Joins != 2 || c.LostSeconds < 15 || c.LostSeconds > 45 || c.State != "in-call" {
				t.Errorf("call %+v", c)
			}
		}
		w.End()
		w.Calls.Wait()
	})
}

package store_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
	"refresher/internal/store"
)

// TestShardOf fixes the shards of some sessions. Nodes of all releases must agree on the
// shards, so these values never change.
func TestShardOf(t *testing.T) {
	for id, want := range map[string]int{
		"": 5, "a": 44, "S0": 22, "S1": 41, "日本": 17,
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ": 2, "Z7A2KQ4XN5M3YB6RWCJDHVTPLF": 47,
	} {
		if got := store.ShardOf(id); got != want {
			t.Errorf("%q is in shard %d, want %d", id, got, want)
		}
	}
	if store.Shards != 64 || store.Format != 1 {
		t.Errorf("%d shards, format %d: what is in Redis was written for 64 and 1", store.Shards, store.Format)
	}
}

func said(node string, epoch, version uint64, state session.State, reason session.EndReason, proven uint64) store.Record {
	return store.Record{
		Record: session.Record{
			ResumeClaims: session.ResumeClaims{Session: "S", Epoch: epoch}, Proven: proven, State: state, Reason: reason,
			ExpiresAt: 1000 + session.UnixSec(epoch),
		},
		Node: node, Version: version,
	}
}

const (
	attached = session.Attached
	detached = session.Detached
	ended    = session.Ended
	expired  = session.EndExpired
)

func drawSaid(t *rapid.T, node string) store.Record {
	epoch := rapid.Uint64Range(1, 3).Draw(t, "epoch")
	r := said(node, epoch, rapid.Uint64Range(0, 3).Draw(t, "version"), rapid.SampledFrom([]session.State{attached, detached, ended}).Draw(t, "state"),
		"", rapid.Uint64Range(0, epoch).Draw(t, "proven"))
	if r.State == ended {
		r.Reason = rapid.SampledFrom([]session.EndReason{session.EndLeft, expired}).Draw(t, "reason")
	}
	return r
}

func replaces(old, r *store.Record) bool {
	_, replace := store.Resolve(old, r)
	return replace
}

// TestResolveSettles: if two nodes save records of the same session, one of them wins: they do not
// replace each other's record again and again. Unless the session was ended on purpose, the order
// of the saves makes no difference.
func TestResolveSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSaid(t, "a"), drawSaid(t, "b")
		aFirst, bFirst := replaces(&a, &b), replaces(&b, &a)
		if aFirst && bFirst {
			t.Fatal("each takes it from the other")
		}
		purpose := a.HasEnded() && a.Reason != expired || b.HasEnded() && b.Reason != expired
		if a.Epoch != b.Epoch && !purpose && !aFirst && !bFirst {
			t.Fatal("the first stays, although the epochs differ")
		}
		if (aFirst || bFirst) && !purpose && a.Epoch != b.Epoch && aFirst != (b.Epoch > a.Epoch) {
			t.Fatal("the lower epoch wins")
		}
	})
}

func TestResolveLoser(t *testing.T) {
	for _, test := range []struct {
		proven, epoch uint64 // the highest epoch whose resume key the client has presented, in the stored record; the epoch of the record that loses to it
		node          string
		want          store.Action
	}{
		{5, 4, "a", store.RaiseEpoch},
		{5, 4, "b", store.CloseSuperseded},
		{4, 4, "b", store.CloseSuperseded},
		{3, 4, "b", store.Release},
		{5, 5, "b", store.Release},
	} {
		old, r := said("a", 5, 5, attached, "", test.proven), said(test.node, test.epoch, 9, detached, "", 1)
		if o, replace := store.Resolve(&old, &r); o.Action != test.want || replace {
			t.Errorf("epoch %d of %s, after a proven epoch %d: %+v, replaced %v", test.epoch, test.node, test.proven, o, replace)
		}
	}
}

func TestTombstoneUntil(t *testing.T) {
	const now, hour = 4_000_000_000, 3600
	for _, test := range []struct {
		name             string
		reason           session.EndReason
		expiresIn, until session.UnixSec
		want             session.UnixSec
	}{
		{"revoked", session.EndRevoked, 2 * hour, 50 * hour, 50 * hour},
		{"denied", session.EndDenied, 60 * hour, 50 * hour, 50 * hour},
		{"left", session.EndLeft, 60, 50 * hour, hour},
		{"left, and its tokens were gone", session.EndLeft, -60, 50 * hour, hour},
		{"left, with tokens that work on", session.EndLeft, 2 * hour, 50 * hour, 2 * hour},
		{"left, with keys that are soon worth nothing", session.EndLeft, 60, 90, 90},
		{"left, when they are worth nothing", session.EndLeft, 60, -1, -1},
	} {
		r := said("a", 1, 1, ended, test.reason, 1)
		r.ExpiresAt, r.Terms.Until, r.Due = now+test.expiresIn, now+test.until, now*1000+999
		if got := r.TombstoneUntil() - now; got != test.want {
			t.Errorf("%s: forgotten after %d s, want %d", test.name, got, test.want)
		}
	}
}

func TestWhatIsKept(t *testing.T) {
	const all = store.DeliveredJoined | store.DeliveredUnreachable | store.DeliveredEnd
	for _, test := range []struct {
		name                        string
		state                       session.State
		reason                      session.EndReason
		told                        store.Delivered
		ended, removable, tombstone bool
	}{
		{"open", attached, "", store.DeliveredJoined, false, false, false},
		{"not connected", detached, "", store.DeliveredJoined | store.DeliveredUnreachable, false, false, false},
		{"open, whatever was told", detached, "", all, false, false, false},
		{"expired", ended, expired, store.DeliveredJoined | store.DeliveredUnreachable, true, false, false},
		{"expired, told", ended, expired, store.DeliveredEnd, true, true, false},
		{"left", ended, session.EndLeft, store.DeliveredJoined, true, false, false},
		{"left, told", ended, session.EndLeft, all, true, false, true},
	} {
		r := said("a", 1, 1, test.state, test.reason, 1)
		r.Delivered = test.told
		if r.HasEnded() != test.ended || r.Removable() != test.removable || r.IsTombstone() != test.tombstone {
			t.Errorf("%s: ended %v, removable %v, tombstone %v", test.name, r.HasEnded(), r.Removable(), r.IsTombstone())
		}
	}
	if told := store.DeliveredJoined | store.DeliveredEnd; !told.Has(store.DeliveredEnd) || !told.Has(told) || told.Has(all) || told.Has(store.DeliveredUnreachable) || !told.Has(0) {
		t.Error("Has does not want all of what it is asked for")
	}
}

// Each time that an overdue session is postponed, it becomes overdue again at another moment
// between two sweeps. So every node is sometimes the first to find the session, even if all nodes
// always sweep at the same moments.
func TestLaterChanges(t *testing.T) {
	seen := make(map[time.Duration]bool)
	now := session.UnixMilli(1_800_000_000_000)
	for range 100 {
		at := store.Later(now)
		if d := at.Sub(now); d > store.Lease || d <= store.Lease-store.SweepEvery {
			t.Fatalf("%s later", d)
		}
		seen[at.Sub(0)%store.SweepEvery] = true
		// late is the time from now until the session is overdue again.
		late := at.Sub(now) + store.Slack
		now = now.Add((late + store.SweepEvery - 1).Truncate(store.SweepEvery))
	}
	if len(seen) < 50 {
		t.Errorf("%d different moments in 100 times", len(seen))
	}
}

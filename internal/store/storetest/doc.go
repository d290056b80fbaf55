// Package storetest is what every store must pass, with its lists and its revocations:
// Conformance, which checks one by one what package store says, and Model, which
// plays arbitrary histories to a store and to store.Memory and wants the same
// answers of both.
//
// A store under test takes the time from the clock that it is opened with. The
// clock stands still but for when a test moves it, by whole milliseconds, and
// starts in a year that no server's own clock shows. A store may have its tombstones
// expire by real time as well, if it reckons from now: the suite makes
// none that last under a minute, and is done with them sooner.
//
// What is not tested, because stores may differ: the same session twice in one
// Save, the order of notices across shards, whether a claim is noticed, and the
// due time of a record after a claim.
package storetest

import (
	"context"
	"testing"
	"time"

	"refresher/internal/store"
)

// Store is what is tested. Its methods are safe for concurrent use.
type Store interface {
	Sessions
	Wishes
	store.Lister
	store.Revocations
	store.Nodes
}

// Sessions is what the scheduler wants of a store.
type Sessions interface {
	// Acquire makes a node the owner of a session that it was shown the key
	// to. A *session.EndedError says that the key is no good any more.
	Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error)
	// Save writes records, each by itself, by the rule of store.Resolve.
	Save(ctx context.Context, records []store.Record) ([]store.Outcome, error)
	// Sweep renews the node's lease, and hands it what is overdue and whose
	// owner is gone, by due time and id; or only some of that, see store.Doing.
	Sweep(ctx context.Context, node string, do store.Doing) ([store.Shards]store.Swept, error)
	// Watch reports the sessions that other nodes take from this one, until
	// ctx is done.
	Watch(ctx context.Context, node string, connected func(), notice func(id string)) error
}

// Wishes is where operators' wishes about one session are written.
type Wishes interface {
	// Wish writes a wish into the record of an open session, notifies its owner, and
	// returns the record as it stands then. The error is store.ErrNoSession where
	// there is no such record.
	Wish(ctx context.Context, wish store.Wish) (store.Record, error)
}

// Open gives a fresh, empty store that goes by the clock now. What it takes is
// released at the end of t.
type Open func(t testing.TB, now func() time.Time) Store

// check is one thing that must hold of a store; each gets a fresh one.
type check struct {
	name string
	run  func(w *world)
}

// Conformance checks that the stores which open gives do what package store says.
func Conformance(t *testing.T, open Open) {
	for _, part := range []struct {
		name   string
		checks []check
	}{
		{"Save", saveChecks},
		{"Resolve", resolveChecks},
		{"Acquire", acquireChecks},
		{"End", endChecks},
		{"Wish", wishChecks},
		{"Sweep", sweepChecks},
		{"Claim", claimChecks},
		{"Watch", watchChecks},
		{"List", listChecks},
		{"Revocations", revocationChecks},
		{"Nodes", nodesChecks},
	} {
		t.Run(part.name, func(t *testing.T) {
			for _, c := range part.checks {
				t.Run(c.name, func(t *testing.T) { c.run(newWorld(t, open)) })
			}
		})
	}
}

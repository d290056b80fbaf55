// Package storetest has the tests that every store must pass, also for its lists and its
// revocations. Conformance checks the rules of package store one by one. Model runs
// arbitrary histories of operations on a store and on store.Memory, and expects the same
// answers from both.
//
// A store under test uses the clock that it is opened with. The clock moves only when a
// test moves it, by whole milliseconds. It starts in the year 2100, so that a store that uses
// another clock by mistake fails the tests. Only tombstones may also expire by real time: the
// tests give each tombstone at least a minute, and need it for less than that.
//
// Some things are not tested, because stores may differ in them: the same session twice
// in one Save, the order of notices across shards, whether a claim sends a notice, and
// the due time of a record after a claim.
package storetest

import (
	"context"
	"testing"
	"time"

	"refresher/internal/store"
)

// Store is the store under test. Its methods are safe for concurrent use.
type Store interface {
	Sessions
	Wishes
	store.Lister
	store.Revocations
	store.Nodes
}

// Sessions has the methods of a store that the scheduler uses.
type Sessions interface {
	// Acquire makes a node the owner of a session whose resume key a client presented. It
	// returns a *session.EndedError if the key is no longer valid.
	Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error)
	// Save writes each record independently, by the rule of store.Resolve.
	Save(ctx context.Context, records []store.Record) ([]store.Outcome, error)
	// Sweep renews the node's lease, and claims for it the overdue sessions that are its
	// own or whose owner's lease has expired, ordered by due time and id. store.Doing
	// selects which of these it does.
	Sweep(ctx context.Context, node string, do store.Doing) ([store.Shards]store.Swept, error)
	// Watch reports the sessions that other nodes acquire from this one, until ctx is done.
	Watch(ctx context.Context, node string, connected func(), notice func(id string)) error
}

// Wishes writes operators' wishes into session records.
type Wishes interface {
	// Wish writes an operator's change (a wish) into the record of an open session,
	// notifies its owner, and returns the changed record. The error is store.ErrNoSession
	// if there is no such record.
	Wish(ctx context.Context, wish store.Wish) (store.Record, error)
}

// Open returns a new, empty store, which uses the clock `now`. The store is closed at the end
// of t.
type Open func(t testing.TB, now func() time.Time) Store

// check is one test of a store. Each check gets a new store.
type check struct {
	name string
	run  func(w *world)
}

// Conformance checks that stores follow the rules of package store. The function `open` makes
// each store.
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

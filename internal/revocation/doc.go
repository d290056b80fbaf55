// Package revocation keeps this node's copy of the revocations, and keeps it the same as
// those of all other nodes: a replicated set in which the higher version of a revocation
// wins. The shared copy is a store.Revocations.
//
//	Add, Lift                                     other nodes
//	   │ has effect here, sessions end                 │
//	   ▼                                               ▼
//	┌─────┐      what the store does not have     ┌─────────┐
//	│ Set │──────────────────────────────────────►│  store  │
//	│     │◄──────────────────────────────────────│         │
//	└──┬──┘     changes; the version every 500 ms └─────────┘
//	   │ each new revocation                           ▲
//	   └──► sessions ──── ended, and how far this ─────┘
//	                      node has got
//
// # Effect
//
// A revocation has effect on a node from the moment that it is in the node's set until it
// is over (Until, by the node's wall clock) or lifted. Sessions that are open then are
// ended by the function given to Run. A session that is opened later is checked by Revoked
// twice: before the client is let in, and once more when that function would find the
// session, so that no revocation slips in between.
//
// Until the store was read for the first time (Loaded), a node does not know what was
// revoked, and must not hand out tokens.
//
// # Replication
//
// A revocation is written once and lifted at most once. The lift raises its version, so it
// wins over the revocation in whatever order copies meet, and it is kept until the
// revocation would have been over. Each node merges what the store has, and puts into the
// store what the store lacks: what was added while the store was away, and everything after
// the store lost its data. Copies that are already there change nothing, so all nodes may do
// so at once.
//
// The store has a version. A change is published with the version before and after it; a
// node that has the one before merges the change, any other reads all. A node also asks for
// the version every 500 ms, for changes that it was not told of.
//
// # Progress
//
// A node writes how many sessions it has ended for a revocation, then up to which change of
// the store it has acted (its status in store.Nodes). A revocation is complete when every
// live node has acted on the change that the revocation came with. The statuses are read
// before the counts, so that the counts of a complete revocation are whole.
//
// # Bounds
//
// There are at most store.MaxRevocations in all, including lifted ones. Each project of this
// node has an equal share of that, which the others cannot take. Add refuses what is beyond.
// What other nodes have is merged in any case.
//
// # Locks
//
// Set.mu is a leaf: neither the store nor the function that ends sessions is called
// under it. Revoked holds it
// shared for a few map look-ups, however many revocations there are.
package revocation

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
// Effect: a revocation has effect from the moment that it is in the node's set until it is
// over (Until, by the node's wall clock) or lifted. Open sessions are ended by the function
// given to Run. A session that is opened later is checked by Revoked twice: before the client
// is let in, and once more when that function would find the session, so that no revocation
// slips in between. Until the store was read once (Loaded), a node must not hand out tokens.
//
// Replication: a revocation is written once and lifted at most once. The lift raises its
// version, and is kept until the revocation would have been over. Each node merges what the
// store has, and puts what the store lacks there again, also after the store lost its data.
// A change is published with the version of the store before and after it. A node that has
// the one before merges the change; any other node reads all.
//
// Progress: a node writes how many sessions it has ended for a revocation, then up to which
// change of the store it has acted (its status in store.Nodes). A revocation is complete when
// every live node has acted on the change that it came with. Statuses are read before counts,
// so that the counts of a complete revocation are whole.
//
// Bounds: store.MaxRevocations in all, including lifted ones, of which each project has an
// equal share. Add refuses more. What other nodes have is merged in any case.
//
// Locks: Set.mu is a leaf. Neither the store nor the function that ends sessions is called
// under it.
package revocation

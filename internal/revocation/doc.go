// Package revocation keeps this node's copy of the revocations equal to the copies of all other
// nodes. It is a replicated set in which the higher version of a revocation wins. The shared copy
// is a store.Revocations.
//
//	Add, Lift                                     other nodes
//	   │ has effect at once on this node               │
//	   ▼                                               ▼
//	┌─────┐   revocations that the store lacks    ┌─────────┐
//	│ Set │──────────────────────────────────────►│  store  │
//	│     │◄──────────────────────────────────────│         │
//	└──┬──┘     changes; the version every 500 ms └─────────┘
//	   │ each new revocation                           ▲
//	   └──► ends sessions ─────── progress ────────────┘
//
// Effect: a revocation has effect from the moment that it is in the node's set until it is
// over (Until, by the node's wall clock) or lifted. The function given to Run ends the open
// sessions. A session that is opened later is checked by Revoked twice: before the client is
// admitted, and again once the function given to Run can find the session. So a revocation that
// is added between the two checks is not missed. A node must not give out tokens until it has
// read the store once (Loaded).
//
// Replication: a revocation is written once and lifted at most once. Lifting raises the
// revocation's version, and the lifted revocation is kept until the time Until. Each node merges
// the store's revocations into its set, and saves revocations that are missing in the store, even
// after the store lost its data. A change is published with the version of the store before and
// after it. If the last version that a node has read or merged is the version before the change,
// the node merges the change. Otherwise the node has missed an earlier change, and reads all
// revocations. A store that fails over may lose a change that it has accepted, and go back to a
// version that the node knows. If the node reads that version and has not seen the change in the
// store, it puts the change there again.
//
// Progress: a node writes the number of sessions that it has ended for a revocation, and then
// the version of the store up to which it has carried out revocations (its status in
// store.Nodes). A revocation is complete when the status of every live node has reached the
// version that stored it. Statuses are read before counts, so that the counts of a complete
// revocation are final.
//
// Limits: all projects together have at most store.MaxRevocations, including lifted ones. Each
// project may have an equal part of them, and Add refuses more. Revocations of other nodes are
// always merged.
//
// Locks: neither the store nor the function that ends sessions is called while Set.mu is held.
package revocation

// Package store defines what outlives a node: the record of each session, when the session's
// owner must next act on it, and which node the owner is. The package has the types that the
// scheduler and the stores share, the rules by which one record replaces another, and the store
// that is embedded in a node without Redis. Package redis is the other store; package storetest
// tests both. A store also lists its sessions (Lister), keeps the nodes' statuses (Nodes), and
// keeps the copy of the revocations that all nodes share (Revocations).
//
// The package works with plain records, and decides which sessions a revocation matches. It
// has no tokens, no connections and no network.
//
// # Shards
//
// A session belongs to one of 64 shards by its id. Each operation is atomic within a shard.
// Nothing is atomic across shards, so that each shard can be on a server of its own.
//
// # Who owns a session
//
// The owner is the node that the record names, until that node's lease expires. A node sweeps
// at the interval SweepEvery, and each sweep renews the node's lease for the time Lease. The
// owner keeps the session in memory, and the store has a write-behind copy. If a session is
// overdue in the store by Slack, and its owner's lease has expired, the next node that sweeps
// claims the session.
//
// # Conflicts
//
// Two nodes can both believe that they own a session: one was paused, or cut off from the
// store, while the client went to the other. The epoch is the fencing token: it rises with
// each attachment, and the client carries it in its resume key. Resolve decides which of
// two records wins. The answer to a Save says what the writer must do.
//
// A session that was ended on purpose leaves a tombstone for as long as its resume keys
// must be refused (see Record.TombstoneUntil). A session that expired leaves nothing, and
// its resume key opens the session again.
//
// # Wishes
//
// A Wish is an operator's change of one session: another role, fresh tokens, or its end. It
// is written into the session's record: a role or fresh tokens into a last-writer-wins
// register (see Register), and an end as the session's end, which the owner must finish. The
// store notifies the owner. The owner then saves its record again, and finds the wish in the
// Outcome.
package store

// Package store defines what outlives a node: the record of each session, when it next
// needs attention, and which node owns it. It has the types that the scheduler and the
// stores share, the rules by which one record replaces another, and the store that is
// embedded in a node without Redis. Package redis is the other store; package storetest
// tests both. A store also lists its sessions (Lister), keeps what nodes say of themselves
// (Nodes), and the copy of the revocations that all nodes share (Revocations).
//
// It knows sessions as plain records, and of revocations what they match. It knows no tokens,
// no connections and no network.
//
// # Shards
//
// A session belongs to one of 64 shards by its id. What is done to the sessions
// of one shard is atomic; nothing is atomic across shards, so that each can
// live on another server.
//
// # Who owns a session
//
// The node that its record names, for as long as the node renews its lease (see Sweep),
// which it does every SweepEvery for Lease. The owner keeps the session in memory and
// writes to the store behind. A session that is overdue in the store by Slack, and whose
// owner's lease has expired, goes to the next node that sweeps.
//
// # Which record replaces which
//
// Two nodes can both believe that they own a session: one was paused, or cut off from the
// store, while the client went to the other. The epoch is the fencing token: it rises with
// each attachment, and the client carries it in its resume key. See Resolve; the answer to
// a Save says what the writer must do.
//
// A session that was ended on purpose leaves a tombstone for as long as its resume keys
// must stay dead (see Record.TombstoneUntil). One that expired leaves nothing, and its key
// opens it anew.
//
// # What operators want of a session
//
// A Wish is written into the session's record: another role or fresh tokens as a
// last-writer-wins register (see Register), an end as one that the owner is to finish. The
// owner is notified, saves its record again, and learns of the wish by the outcome.
package store

// Package store says what outlives a node: the record of each session, when it
// next needs attention, and which node sees to that. It holds the words that
// the scheduler and the stores share, the rules by which one record may replace
// another, and the store that is embedded in a node that has no Redis. Package
// redis holds the other one. Package storetest is what both must pass. A store is
// also a Lister of its sessions, and a Board: where the orders stand that all
// nodes follow.
//
// It knows sessions as plain records, and of orders what they are about. It knows
// no tokens, no connections and no network.
//
// # Shards
//
// A session belongs to one of 64 shards by its id. What is done to the sessions
// of one shard is atomic; nothing is atomic across shards, so that each can
// live on another server.
//
// # Who owns a session
//
// The node that its record names, for as long as the node renews its lease (see
// Sweep), which it does every SweepEvery for Lease. The owner keeps the session
// in memory and sees to it from there; the store is told afterwards. What stays
// overdue in the store beyond Slack is handed to whoever sweeps next, if its
// owner's lease ran out; the sweeper is its owner from then on.
//
// # Which record replaces which
//
// Two nodes can both think that they own a session: one was paused, or cut off
// from the store, while the client went to the other. The epoch, which rises
// with each attachment and travels with the client, decides: see Resolve. A node
// that is refused learns who is right, and lets go.
//
// A session that was ended on purpose leaves a tombstone: the record of its end,
// kept for as long as its keys must stay dead (see Record.TombstoneUntil). One that
// nobody came back to leaves nothing, and its key opens it anew.
package store

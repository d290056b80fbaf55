// Package cluster keeps in step what the nodes share of the sessions: which node owns which
// session, and the record that another node needs to go on with it. The sessions are the
// engine's (package scheduler), which the Cluster calls as its Node; what outlives a node,
// and the rule for two writers of one record, is package store's.
//
//	engine: commit ──Enqueue──► write-behind ──flush──► Store.Save
//	          ▲                                            │
//	          └────────────── Acknowledge ◄────────────────┘
//
//	engine: Resume ───Acquire──────────────────────────► Store.Acquire
//	engine: Adopt  ◄──overdue, owner's lease expired──── Store.Sweep (renews the lease)
//	engine: SaveAgain ◄──another node took a session──── Store.Watch
//	api:    Wish ──► written into the record ──► the owner's next answer has it
//
// # Rules
//
//   - No push waits for the store. The write-behind holds the newest record of each session,
//     and flush saves it a moment later, with many others: one write for each renewal. A
//     renewal that is confirmed waits longer than other changes, so that its batch is larger.
//   - A store that is away costs nothing but the records that wait: calls go on, clients come
//     back by their keys, joins are taken, and the node reports that it is degraded.
//   - A shard that is back after it was away, or has lost data, gets all its sessions again,
//     in batches that follow each other's answers.
//   - A node that is gone: its lease expires, and what becomes overdue of its sessions goes to
//     the node that sweeps next, which keeps them as sessions whose client is away.
//   - A node whose session another node has acquired learns of it by the notice, or by the
//     answer to its next record, and lets go of it.
//   - The lock of the write-behind is a leaf, and no lock is held across a call of the store.
package cluster

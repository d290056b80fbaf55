// Package cluster shares sessions between nodes through the store: which node owns which
// session, and the record that another node needs to continue it. The sessions themselves are
// in the engine (package scheduler), which the Cluster calls through the interface Node.
// Package store defines the records, and the rule for two nodes that write the same one.
//
//	engine: session changed ──Enqueue──► write-behind ──flush──► Store.Save
//	          ▲                                                     │
//	          └────────────────── Acknowledge ◄─────────────────────┘
//
//	engine: Resume ───Acquire──────────────────────────► Store.Acquire
//	engine: Adopt  ◄──overdue, owner's lease expired──── Store.Sweep (renews the lease)
//	engine: SaveAgain ◄─another node acquired a session─ Store.Watch
//	api:    Wish ──► written into the record ──► store's answer to the owner's next save
//
// # Rules
//
//   - No push waits for the store. The write-behind holds the newest unsaved record of each
//     session, and flush saves them in batches a moment later: one write for each renewal.
//     The record of a confirmed renewal waits longer than others, which makes batches larger.
//   - While the store is down, records wait. Sessions are renewed, clients resume by the
//     content of their keys, joins are accepted, and the node reports that it is degraded.
//   - When a shard is reachable again, or has lost data, all its sessions are saved again, in
//     batches: each batch is sent after the store has answered the previous one.
//   - When a node dies, its lease expires. Its sessions are adopted, once they are overdue, by
//     the next node that sweeps. An adopted session is detached until its client resumes.
//   - When another node acquires a session, its previous owner learns of it from a notice, or
//     from the store's answer to its next save, and drops the session.
//   - No other lock is taken under the write-behind's lock, and no lock is held during a call
//     of the store.
package cluster

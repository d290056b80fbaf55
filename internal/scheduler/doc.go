// Package scheduler is the engine: it keeps the sessions of this node in memory, fires each
// at its deadline, has new tokens minted, pushes them through the session's connection, and
// repeats the push until the client confirms. Package session has the rules that say when a
// session is due and why; this package carries them out on time, for many sessions at once.
// Connections, minting, permissions (Access) and other nodes (Cluster) are behind
// interfaces. Without a Cluster the engine works alone.
//
//	Join, Resume, RenewByKey,           Ack, Nack, Renew, Leave, Detach
//	LeaveByKey (connections and HTTP)   (through an attachment)
//	         │                                    │
//	         └───────────────► entry ◄────────────┘
//	                             │ commit: sends events, enqueues the record,
//	                             ▼ asks the session for its Deadline
//	       table: the entries, and the queue: by due time; once due, by expiry
//	                             │ workers: the most urgent first, many at a time
//	                             ▼
//	       fire: ask, mint and push, push again, close, expire ──► commit
//
// # Rules
//
//   - A session's own state, under its entry's lock, is authoritative. The queue is derived
//     from it by commit: no code sets, moves or cancels a deadline directly. The queue may
//     fire a session whose deadline has moved; TakeTask then returns Wait.
//   - Only an ack shows which bundle a client has: a bundle is pushed until it is acked,
//     under the same seq, or replaced by one with a higher seq.
//   - The epoch of a session's newest attachment decides which node owns the session: it is
//     the fencing token, and the resume key carries it. A node with an older epoch drops
//     the session.
//   - A session that ended on purpose stays in memory until the store has its end, so that
//     its resume keys are refused. An expired session is removed; its key opens it anew.
//   - Revocations are checked again where a Decision may be outdated: when a session has
//     been added to the table, where Revoke finds it, and for each bundle.
//   - Locks: an entry's lock before the table's, which is a leaf. A caller that must not
//     wait for a slow client's push hands its work to the entry's lock (see lock.Do).
//   - A panic in the handling of a session ends that session on this node, and nothing else:
//     see entry.contain. So entries are unlocked by defer, and contain is deferred after that.
//   - Deadlines are on the monotonic clock, expiries are Unix seconds. After a step of the
//     wall clock, renewals that became due are spread over half a minute.
package scheduler

// Package scheduler is the engine. It keeps the sessions of this node in memory. When a
// session's renewal is due, it mints new tokens, pushes them on the session's connection, and
// repeats the push until the client confirms it. Package session has the rules by which a
// session becomes due; this package applies them on time, for many sessions at once.
// Connections, minting, permissions (Access) and other nodes (Cluster) are behind interfaces.
// Without a Cluster the engine works alone.
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
//	       fire: request approval, mint and push, push again, close, expire ──► commit
//
// # Rules
//
//   - A session's state, under its entry's lock, is authoritative. Only commit updates the
//     queue, from that state: no code sets, moves or cancels a deadline directly. If a
//     deadline moves while a worker already has the session, TakeTask returns Wait, and the
//     worker does nothing.
//   - Only an ack shows which bundle a client has: a bundle is pushed until it is acked,
//     under the same seq, or replaced by one with a higher seq.
//   - The epoch of a session's newest attachment decides which node owns the session: it is
//     the fencing token, and the resume key carries it. A node with an older epoch drops
//     the session.
//   - A session that ended on purpose stays in memory until its end is stored, so that its
//     resume keys are refused. An expired session is removed; its key can open it again.
//   - Revocations are checked again where a Decision may be outdated: after a session was
//     added to the table, since Revoke did not find the session before, and for each bundle.
//   - An entry's lock is taken before the table's, and no other lock after the table's. A
//     caller that must not wait for a slow client's push uses lock.Do, which defers its work.
//   - A panic in the handling of a session removes only that session from this node: see
//     entry.contain. So entries are unlocked by defer, and contain is deferred after that.
//   - Deadlines are on the monotonic clock, expiries are Unix seconds. If the wall clock is
//     set forward, the renewals that become due at once are spread over stepWindow.
package scheduler

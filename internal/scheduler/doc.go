// Package scheduler is the engine: it keeps the sessions of this node, fires each at its
// deadline, has new tokens minted, pushes them through the session's connection, and
// repeats that until the client confirms. When and why is decided by package session; here
// is what makes it happen on time, for many sessions at once. It knows neither WebSockets
// nor HTTP, nor how a token is made, nor who decides (Access), nor what other nodes do
// (Cluster): without a Cluster it works alone.
//
//	Join, Resume, RenewByKey,           Ack, Nack, Renew, Leave, Detach
//	LeaveByKey (connections and HTTP)   (through an attachment)
//	         │                                    │
//	         └───────────────► entry ◄────────────┘
//	                             │ commit: announces events, enqueues the record,
//	                             ▼ asks the session for its Deadline
//	       table: the entries, and the queue: by due time; once due, by expiry
//	                             │ workers: the most urgent first, many at a time
//	                             ▼
//	       fire: ask, mint and push, push again, close, expire ──► commit
//
// # Rules
//
//   - A session's own state, under its entry's lock, is authoritative. The queue is derived
//     from it by commit: a deadline is never set, moved or cancelled by hand. The queue may
//     fire a session whose deadline has moved; Due then says Wait.
//   - What a client holds is known only by its acks: a bundle is pushed until it is acked,
//     under the same seq, or replaced by one with a higher seq.
//   - Which node has a session is decided by the epoch of its newest attachment, the fencing
//     token, which the resume key carries. A node that has an older one lets go.
//   - A session that ended on purpose is remembered here until the store has its end, so that
//     its keys stay dead. An expired session is forgotten; its key opens it anew.
//   - Revocations are checked again where Authorize may be outdated: once a session is in the
//     table, where Revoke finds it, and with each bundle.
//   - Locks: an entry's lock before the table's, which is a leaf. A caller that must not
//     wait for a slow client's push hands its work to the entry's lock (see lock.Do).
//   - A panic in the handling of a session ends that session on this node, and nothing else:
//     see entry.contain. So entries are unlocked by defer, and contain is deferred after that.
//   - Deadlines are on the monotonic clock, expiries are Unix seconds. After a step of the
//     wall clock, renewals that became due are spread over half a minute.
package scheduler

// Package scheduler decides when a session's tokens are renewed, and sees to
// it: it keeps the sessions of this node, fires each at its deadline, has new
// tokens minted, pushes them through the session's connection, and repeats that
// until the client confirms. The rules are those of package session; here is
// what makes them happen on time, for many sessions at once.
//
// It knows neither WebSockets nor HTTP nor how a token is made: connections
// come as session.Client, tokens from a Minter.
//
// # The loop
//
//	Join, Resume, RenewByKey                   Ack, Nack, Renew, Leave, Detach
//	(from connections and HTTP)                (through an attachment)
//	         │                                           │
//	         ▼          commit: the one place            ▼
//	    ┌─────────┐     that sets deadlines         ┌─────────┐
//	    │ session │─────────────┐     ┌─────────────│ session │
//	    └─────────┘             ▼     ▼             └─────────┘
//	                       ┌──────────────┐
//	                       │    queue     │ waiting: by due time
//	                       │              │ ready:   by expiry, when due has come
//	                       └──────┬───────┘
//	                 Run: pop, most urgent first
//	                              ▼
//	                       ┌──────────────┐  Renew   mint, push
//	                       │     fire     │  Repeat  push the same again
//	                       │ (many at a   │  GiveUp  close the connection
//	                       │    time)     │  RunOut  count it
//	                       └──────┬───────┘  Expire  end the session
//	                              └─► commit
//
// After every change to a session, commit asks it for its Deadline and puts it
// there in the queue. A deadline is thus never set, moved or cancelled by hand,
// and a session that is open stands in the queue exactly once, but for the
// moment in which it is being fired.
//
// # Who is authoritative
//
// A session's own state, under its lock. The queue is derived from it, and may
// fire a session whose deadline has moved meanwhile: Due then says Wait, and
// commit puts it back. What a client holds is known only by its acks.
//
// A session that this node has never heard of is made from its resume key,
// which says all that is needed. One that was ended on purpose is remembered
// for as long as a key to it can be good, so that its keys stay dead (the last
// million of them, see graveyard); but a session that nobody came back to in
// time is forgotten, and its key opens it anew.
//
// # What is guaranteed
//
//   - A push is made when it is due, never early by more than the session's own
//     jitter; with more to do than time, earliest expiry first.
//   - Delivery is at least once: a bundle is pushed until it is acked, under the
//     same seq, or replaced by one with a higher seq.
//   - Pushes of one session are written in the order of their seq.
//   - A client that does not read holds up no other: its push occupies one of
//     Config.Concurrency slots for at most a write deadline.
//
// # Time and units
//
// Deadlines are time.Duration on the process's monotonic clock, so that the
// wall clock can be set without a renewal being skipped or all of them firing
// at once; expiries are Unix seconds. Run compares the two clocks every few
// seconds, and after a step ahead renews the sooner, spread over half a minute.
//
// # Locks
//
// entry.mu before Scheduler.mu. An entry's lock is held while its session is
// changed, its tokens are minted and its push is written: what happens to one
// session happens one after the other. Scheduler.mu guards the table and the
// queue, and is never held across anything that can block.
package scheduler

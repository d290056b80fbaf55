// Package scheduler decides when a session's tokens are renewed, and sees to
// it: it keeps the sessions of this node, fires each at its deadline, has new
// tokens minted, pushes them through the session's connection, and repeats that
// until the client confirms. The rules are those of package session; here is
// what makes them happen on time, for many sessions at once.
//
// It knows neither WebSockets nor HTTP, nor how a token is made, nor what a store
// is made of: connections come as session.Client, tokens from a Minter, and what
// nodes share is behind Store.
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
//	                              ▼                Ask     may it go on?
//	                       ┌──────────────┐  Renew   mint, push
//	                       │     fire     │  Repeat  push the same again
//	                       │ (many at a   │  GiveUp  close the connection
//	                       │    time)     │  RunOut  count it
//	                       └──────┬───────┘  Expire  end the session
//	                              └─► commit
//
//	commit ──► outbox ──write──► Store ◄──sweep── leases, what is overdue
//	             ▲                │                         │
//	             └── rewrite ◄────┴──► lose                 └──► adopt
//
// What is kept in the store has a file each: outbox, write, sweep, watch, acquire, and
// ownership for what is adopted and lost.
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
// On which node a session is, the store says, by the epoch of its newest
// attachment. A client that comes back shows a key that carries an epoch; the node
// asks the store for the session (acquire), which raises the epoch there and tells
// the node that had it. When the store does not answer in time, the key says
// enough to go on, and the store is told later. What a node tells the store of
// an attachment that is not the newest is refused, and the node lets go (lose).
//
// A session that was ended on purpose is remembered here until the store knows,
// and there for as long as package store says, so that its keys stay dead; but
// one that nobody came back to in time is forgotten, and its key opens it anew. A node
// with more than MaxSessions sessions forgets the longest detached first (makeRoom).
//
// # The store
//
// No push waits for it. commit puts what has changed into the outbox, which
// holds the newest record of each session, and write brings it to the store a
// moment later, many at a time. So a renewal costs one write, when it is
// confirmed; and a store that is away costs nothing but the records that wait.
//
//   - away: calls go on, clients come back by their keys, joins are taken. The
//     node says that it is degraded.
//   - back after it was away, or another server than before, or emptied: all
//     sessions of the shards in question are written again (rewrite), in batches
//     that follow each other's answers, so that it is not flooded.
//   - a node that is gone: its lease runs out, and what becomes overdue of its
//     sessions goes to whoever sweeps next (adopt), which keeps them as sessions
//     whose client is away. They expire there, or their clients come back,
//     anywhere.
//   - what the customer's back end is told (session.Event) counts as told when
//     it was delivered; a session that is over stays in the store until then, so
//     that another node tells it if this one dies.
//
// # Who has a say
//
//   - The grant: Join opens nothing that its caller's grant does not cover, and
//     the session's terms keep to it from then on.
//   - The customer's back end, where it is asked (Consent): at a join and when a
//     client comes back, who wait for its word; and ahead of each renewal, off the
//     push path (ask). When each question is due, and what holds while there is no
//     answer, is the session's to say.
//   - Operators: Wish writes a change of one session into its record, for its owner to
//     act on; what the store's answers say of such changes is acted on after each save,
//     and when a client comes back. See wish.go.
//   - Revocations: Revoke ends the sessions that are here and match. Later ones are checked
//     against Revocations: before a client gets in, again once the session is in the table,
//     where Revoke would find it, and with each token that is minted.
//
// # What is guaranteed
//
//   - A push is made when it is due, never early by more than the session's own
//     jitter; with more to do than time, earliest expiry first.
//   - Delivery is at least once: a bundle is pushed until it is acked, under the
//     same seq, or replaced by one with a higher seq.
//   - Pushes of one session are written in the order of their seq.
//   - A client that does not read holds up no other: its push occupies one of
//     Config.Concurrency slots for slotPatience at most, and goes on without one
//     until its write deadline.
//
// # Panics
//
// A panic in the handling of a session ends that session on this node, and nothing
// else: see Scheduler.contain. Its state is not trusted and not written; the client
// is cut off, and comes back with its key. So a function that locks an entry unlocks it
// by defer, and defers contain before anything that may panic; and no record is read
// under Scheduler.mu.
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
// entry.mu before Scheduler.mu and outbox.mu, which are leaves. An entry's lock is
// held while its session is changed, its tokens are minted and its push is
// written: what happens to one session happens one after the other. Callers that must
// not wait for a slow client's push queue their work (entry.do), and whoever holds the
// lock does it before letting go. Scheduler.mu guards the table and the queue, and is
// never held across anything that can block; nothing is held across a call of the
// store.
package scheduler

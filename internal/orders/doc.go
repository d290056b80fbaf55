// Package orders keeps one node's copy of the orders that stand: revocations,
// changes of role, renewals on demand and roll-overs of the certificate. It
// follows the board that all nodes share, has this node's sessions brought in
// line with each order, and says on the board what was done.
//
// It knows what an order matches, and what became of it on each node. It knows
// neither sessions nor tokens: whoever carries orders out is a function, and the
// board is a store.Board.
//
//	Give, Lift                                 other nodes
//	    │ counts here at once                       │
//	    ▼                                           ▼
//	┌────────┐  what the board has not         ┌─────────┐
//	│  Book  │────────────────────────────────►│  Board  │
//	│        │◄────────────────────────────────│         │
//	└──┬──┬──┘  notices, and asked every 2 s   └─────────┘
//	   │  │ each new order, roll-overs last         ▲
//	   │  └────────► Sessions ──── report ──────────┘
//	   ▼
//	Revoked, Role: asked for every join, resume, renewal and classic request
//
// # What counts
//
// An order counts on a node from the moment the node knows it until its time is
// over (Order.Until, by the node's wall clock) or it is lifted. It is carried out
// on the sessions that are there when the node learns of it. Those that come
// later are checked by whoever takes them, with Revoked and Role: once a session
// stands where Sessions would find it, not before, or an order could slip in
// between.
//
// A revocation matches what fits in all that it names. Its channel is an RTC
// channel. Its user is, with a channel, the RTC user in it; without one, the RTC,
// RTM or Chat user. A uid is named in decimal, and is the same as the account of
// that name, as it is for Agora; the wildcard uid is "0". Of several role orders
// for a session, and of several roll-overs of a project, the one that was given
// last counts (Order.At, then the id). A roll-over that was overtaken before it was
// complete says so in its report; it goes on once the newer one does not count.
//
// Until the board was read for the first time (Loaded), a node knows nothing of
// the orders that stand, and must not hand out tokens.
//
// # Who is authoritative
//
// Nobody alone: the orders that stand are all that any node or the board knows.
// What the board has is taken over; what it lacks, since it was away or lost its
// data, is given to it again, until it has it or the order's time is over. An
// order is known by its id, and changes once: it is lifted. A lifted order is kept
// to the end of its time, here and on the board, and prevails over the same one
// standing; so nothing that was lifted comes back.
//
// Reports are kept by the board alone. A board that lost its data has those again
// that a node writes anew, which it does for the orders that it gives back.
//
// # Guarantees
//
//   - Give and Lift count on this node before they return. With store.ErrNotDurable
//     they may count here only: until the board is back, or this node stops.
//   - An order is carried out on a node at least once: once by each process that
//     learns of it, and a roll-over again and again, for its progress, until it
//     is complete or a minute past its span: every second, or less often, so
//     that it takes a twentieth of the time.
//   - Sessions is called for one order at a time. Roll-overs, which take long,
//     let all others go first. An older role order is not carried out over a
//     newer one.
//   - A wall clock that goes ahead and back loses no order that the board has:
//     it is read in full again, once an end is ahead that was over.
//   - Memory is bounded, and no sort of order takes it all: see below.
//
// # How many
//
// Give refuses more than store.MaxOrders in all, those that were lifted included,
// as they are on the board. Changes of role and renewals may be a quarter of that,
// revocations by session alone a half. So busy clients of the API leave room for
// revocations that keep somebody out. Of all of these limits one half is divided among
// the projects, each of which always has its share, and the other half is for whichever
// comes first: no project takes the room of the others. What the board has is taken over
// and counted all the same.
//
// A board that is full, though the book was not, refuses an order for good: Give
// takes it back. What was given while the board was away, and was answered so,
// counts here to its end; the board is asked once a minute whether there is room.
//
// # When the board is away
//
// Orders are given, lifted and looked up as before, on this node. It is asked
// again after 100 ms, and then at growing intervals of up to 2 s.
//
// # Locks
//
// Book.mu guards the orders and what is to be done about them. It is a leaf:
// nothing is called under it, neither the board nor Sessions. A look-up holds it
// shared, for a few map look-ups, however many orders there are. Orders are
// carried out in turn (Book.turn), which nobody waits for who holds Book.mu; the
// turn's own mutex is a leaf, too.
package orders

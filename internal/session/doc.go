// Package session defines a session and the rules of its life. A session keeps one
// call supplied with fresh tokens. It has an identity (channel and user), terms
// (lifetime of its tokens, last second, format), and the state of delivery: which
// bundle of tokens the client has confirmed.
//
// The package is pure: it does no I/O, reads no clock, starts no goroutine, and
// imports nothing but the standard library. WebSockets, Redis and the making of
// tokens are in other packages. Callers pass in the time, and make one call at a
// time for each session.
//
// # A session's life
//
//	      join                    resume (a key at least as new
//	       │                        as any presented before)
//	       ▼                      ┌──────────────────────────────┐
//	┌─────────────┐  connection   │       ┌──────────────┐       │
//	│  Attached   │──lost─────────┼──────►│   Detached   │───────┘
//	└──────┬──────┘  silence      │       └──────┬───────┘
//	       │    ▲────────────────-┘              │ tokens expired and
//	       │ left, denied,                       │ the resume window
//	       │ revoked, terms over                 │ passed; or terms over
//	       ▼                                     ▼
//	┌────────────────────────────────────────────────────┐
//	│                       Ended                        │
//	└────────────────────────────────────────────────────┘
//
// While attached, the newest bundle of tokens is either confirmed or pending:
//
//	               due: expires − renewBefore − jitter, on a grid of 50 ms
//	┌───────────┐   or the client sends `renew`   ┌───────────┐──┐ AckTimeout:
//	│ confirmed │────────────────────────────────►│  pending  │  │ same seq again,
//	└───────────┘◄────────────────────────────────└───────────┘◄─┘ SilentTries at most,
//	                          ack                   │  │  ▲       then the connection
//	                                           nack │  │  │       is closed
//	                                                ▼  ▼  │
//	                                             new seq  └ new seq, action "rejoin":
//	                                                        the client's tokens have expired
//
// # Invariants
//
//   - Deadline is computed from the state alone. A session that has not ended has
//     exactly one deadline. No timer is set, so none can differ from it.
//
//   - A pushed bundle is pending until its ack. Until then it is pushed again, under
//     the same seq, or replaced by one with a higher seq.
//
//   - Only the first ack or nack of a bundle counts as the answer to its push.
//
//   - The rate of bundles minted for a client's renew and nack messages is bounded. A
//     renew delays neither the repetition of an unanswered push nor the close of a
//     connection whose client stays silent.
//
//   - seq rises by one with each bundle and never falls. A bundle never expires
//     before the previous bundle, and never after Terms.Until. Its lifetime never
//     exceeds MaxLifetime.
//
//   - epoch rises with each attachment. Messages on the connection of an older
//     attachment change nothing. The loss of that connection changes nothing, either.
//
//   - If your back end approves renewals, a bundle is minted only with its approval, or
//     in the grace period after the last approval (Policy.ApprovalGrace). The approval
//     is requested ahead of time, so that no renewal waits for the answer.
//
//   - A session never gets a higher role than its credential granted.
//
//   - After a change of the node's certificate (SetSigner), each attached session is
//     renewed once within Policy.CertificateSpread, at a moment derived from its id, or
//     earlier if it is due. A detached session is renewed when its client returns.
//
// # Time and units
//
// Deadlines are monotonic (Instant.Mono), expiries are Unix seconds as Agora
// counts them. An expiry is converted to the monotonic clock once, when the bundle is
// issued. If the wall clock is set afterwards, ClockStepped moves the next renewal.
package session

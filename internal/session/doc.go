// Package session holds what a session is and the rules of its life. A session
// is one call's claim to fresh tokens: an identity (which channel, which user),
// the terms it was granted, and where the client stands.
//
// The package is pure: it does no I/O, reads no clock, starts no goroutine, and
// imports nothing but the standard library. It knows neither WebSockets, nor
// Redis, nor how a token is made. Callers hand it the time and serialise the
// calls for one session.
//
// # A session's life
//
//	      join                    resume (a key at least as new
//	       │                        as the newest proven one)
//	       ▼                      ┌──────────────────────────────┐
//	┌─────────────┐  connection   │       ┌──────────────┐       │
//	│  Attached   │──lost─────────┼──────►│   Detached   │───────┘
//	└──────┬──────┘  silence      │       └──────┬───────┘
//	       │    ▲────────────────-┘              │ tokens ran out and
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
//	┌───────────┐   or the client asks (renew)    ┌───────────┐──┐ AckTimeout:
//	│ confirmed │────────────────────────────────►│  pending  │  │ same seq again,
//	└───────────┘◄────────────────────────────────└───────────┘◄─┘ SilentTries at most,
//	                          ack                   │  │  ▲       then the connection
//	                                           nack │  │  │       is given up
//	                                                ▼  ▼  │
//	                                             new seq  └ new seq, action "rejoin":
//	                                                        what the client held ran out
//
// # What holds
//
//   - Deadline follows from the state alone: a session that has not ended has
//     exactly one, and nothing has to be kept in step with it.
//
//   - A pushed bundle is pending until its ack. Until then it is pushed again, under
//     the same seq, or replaced by one with a higher seq.
//
//   - Only the first ack or nack of a bundle answers its push.
//
//   - Bundles that a client asks for, by renew or nack, come at a bounded rate. Asking
//     puts off neither the repetition of a push nor the end of a connection that does
//     not answer.
//
//   - seq rises by one with each bundle and never falls. A bundle never expires
//     before the one before it, never after the session's terms, and never
//     lives longer than MaxLifetime.
//
//   - epoch rises with each attachment. A message or a loss of an older
//     attachment changes nothing.
//
//   - If the customer's back end approves renewals, a bundle is minted only with its
//     approval, or in the grace period after the last one (Policy.ApprovalGrace). It is
//     asked ahead, so that no renewal waits for the answer.
//
//   - A role is never more than was granted.
//
//   - When another certificate signs than the one that has signed the newest bundle
//     (SetSigner), an attached session is renewed at its own place in
//     Policy.CertificateSpread, unless it is due before. A detached one has tokens of
//     the new certificate when its client is back.
//
// # Time and units
//
// Deadlines are monotonic (Instant.Mono), expiries are Unix seconds as Agora
// counts them. An expiry is translated once, when the bundle is issued; see
// ClockStepped for what happens when the wall clock is set afterwards.
package session

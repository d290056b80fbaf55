// Package access decides who may have tokens, and how often. Nothing else does.
//
// # Who is asked what, in which order
//
//	Admit         the client's address    --address-rate; before anything is parsed for it
//	Authenticate  the credential          signed, in time, for a project served here
//	              revocations             its subject is not revoked
//	              its holder's rate       --subject-rate
//	Decide        the credential's grant  covers the user, channel and role (where a Caller asks)
//	              revocations             were read from the store once, and none matches
//	              the back end            allows it (--authorize-url); for so long, if it says so
//	              revocations, again      none came while the back end was asked
//	              the time                has not run out meanwhile (where a Caller asks)
//	Recheck       revocations             were read from the store once, and none matches
//	Revoked       revocations             one matches; see below
//
// The first refusal counts, and what comes after it is not asked. Decide is called for
// each join, resume, renewal over HTTP, scheduled renewal, and token without a session. A
// resume key has in it what was granted when its session was joined, so a client that
// comes back with one shows no credential.
//
// Three refusals are not final, and say when to try again. A rate is exceeded. ApprovalUnavailable: the
// back end gave no answer; a session that is open goes on for --authorize-grace.
// RevocationsUnknown: a node that has just started does not know the revocations yet.
//
// # Why there is a second look
//
// A revocation ends the sessions that it finds in the engine's table. One that is added
// after Decide has looked, and before the session is in the table, would end nothing: the
// session would go on. So the engine calls Revoked when the session is in the table, and
// for each token that it mints. Before anybody is asked about a resume key it calls Recheck,
// so that one that is revoked costs the back end and the store nothing. Neither does I/O, so
// both may be called with a session's lock held.
//
// # Concurrency and secrets
//
// All methods are safe for concurrent use. No lock is held while the back end is asked.
// Neither a credential nor a secret is in any log line or error.
package access

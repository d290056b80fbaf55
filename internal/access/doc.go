// Package access decides which callers may have tokens, and how often. No other package decides
// this.
//
// # The checks, in order
//
//	RateLimit     the client's address    --address-rate; before the credential is read
//	Authenticate  the credential          is signed, in time, and for a project served here
//	              revocations             none matches its subject
//	              its subject's rate      --subject-rate
//	Authorize     the credential's grant  covers the user, channel and role (if there is a Caller)
//	              revocations             were read from the store, and none matches
//	              approval                your back end allows it (--authorize-url), perhaps until a time
//	              revocations, again      none was added while the approval was requested
//	              the time                the grant has not expired meanwhile (if there is a Caller)
//	Recheck       revocations             were read from the store, and none matches
//	Revoked       revocations             one matches; the section below says why this is checked again
//
// The first check that refuses the request determines the answer, and later checks are skipped. Authorize is called for
// each join, resume, renewal over HTTP, scheduled renewal, and token without a session. A resume key contains the grant
// of the session's join, so a client that resumes shows no credential.
//
// Three refusals are temporary, and tell the client when to retry: a rate is exceeded; ApprovalUnavailable,
// if the back end gave no answer (an open session then continues for --authorize-grace); and
// RevocationsUnknown, while a node that has just started has not read the revocations yet.
//
// # Why revocations are checked twice
//
// A revocation ends the sessions that are in the engine's table when the revocation is added. If it is added
// after Authorize has checked the revocations, but before the session is in the table, it does
// not end the session. So the engine calls Revoked after it has put the session into the table,
// and again for each token that it mints. Before a resume it calls Recheck, so that a revoked
// session causes no requests to the back end or the store. Neither method does I/O, so the
// engine may call both while it holds a session's mutex.
//
// # Concurrency and secrets
//
// All methods are safe for concurrent use. No mutex is held during a request for approval. No
// log line or error contains a credential or a secret.
package access

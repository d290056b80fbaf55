// Package credential turns a credential, the text of a JWT, into a session.Caller: who
// asks, and which tokens it may have. It knows what a credential looks like, whose
// signature is good, and where the keys for that come from. It does not know what
// is asked for: whether a grant covers it is for package session to say.
//
// # Projects and keys
//
// A service has one or more projects, each an Agora App ID with keys of its own.
// With one, the claim app may be absent; with several it names the project, and
// only that project's keys are tried. So a key of one project never speaks for
// another. Projects that are given the same key trust its holder with each.
//
// Which algorithms are good follows from the keys alone, never from the header:
//
//	secret (two while it is changed)   HS256, HS384, HS512
//	RSA, 2048 to 8192 bits             RS256, RS384, RS512, PS256, PS384, PS512
//	EC on P-256, P-384, P-521          ES256, ES384, ES512, one for each curve
//	Ed25519                            EdDSA
//
// A text is never a secret and a public key at once, so the bytes of a public key
// sign nothing. Keys that a credential brings along (jwk, jku, x5c, x5u) are not
// looked at.
//
// # Order
//
// Length, form, header, project, signature, claims. What costs something comes
// after what does not, and claims are looked at once somebody we know has signed
// them; of those that are not, only app is, where there are several projects.
// At most two secrets, or the project's PEM keys and one of its key set, are
// tried on a credential. Of a JSON object each name may stand there once, and in
// its own case: what this package reads is what any other reader reads.
//
// # Key sets
//
// A key set (JWKS) is fetched when Run starts, each JWKSRefresh, and when a
// credential names a key that is not in it, for that once in 10 s at most. Verify
// waits 2 s for a fetch that can be over by then. At most 64 callers wait at once; the
// others are answered with unavailable.
//
//	           ┌──────────┐ fetched ┌─────────┐ failed  ┌───────────┐
//	  Run ────►│ no keys  │────────►│  good   │────────►│ last good │
//	           └──────────┘         └─────────┘◄────────└───────────┘
//	key known:  –                    verified   fetched  verified
//	unknown:    unavailable          see below           unavailable
//
// A key that is not in the set may have been published since the set was fetched. So a
// credential that names it is refused only if the last fetch began after the key was
// first named, began less than 10 s ago, and did not find it. Otherwise the answer is
// unavailable, with the time of the next fetch. Named keys are remembered as hashes, at
// most 1000 for each fetch.
//
// A set that was fetched replaces the one before it: a key that is gone from it is
// gone here. While the endpoint does not answer, or answers with anything but a key set
// with a usable key, the last good set stays in use without a time limit: an issuer
// that is away must not end calls. refresher_jwks_age_seconds shows how old the set is.
//
// Of a set, keys that are not for signatures, symmetric, private, weak or broken
// are left out, and logged; the others are good. Redirects are not followed.
//
// # What a refusal tells
//
// The caller learns one text for every defect: what is wrong with a credential
// helps whoever forges one. The log and refresher_credentials_total have the
// Reason, and the log the claim at fault. Neither holds a credential, nor a claim's
// value, nor what else came from outside but the key's id, clipped.
//
// # Concurrency
//
// A Verifier is safe for concurrent use. remote.mu is a leaf: nothing that can
// block is called under it.
package credential

// Package credential turns a credential, the text of a JWT, into a session.Caller: who asks,
// and which tokens it may have. Whether a grant covers what is asked for is for package session
// to say. docs/understand/adr/0013-credentials.md has the reasons.
//
// Each project has keys of its own. With several projects the claim app names the one whose
// keys are tried. Which algorithms are good follows from the keys, never from the header:
//
//	secret (two while it is changed)   HS256, HS384, HS512
//	RSA, 2048 to 8192 bits             RS256, RS384, RS512, PS256, PS384, PS512
//	EC on P-256, P-384, P-521          ES256, ES384, ES512, one for each curve
//	Ed25519                            EdDSA
//
// Checked in this order: length, form, header, project, signature, claims. Claims are judged
// once they are signed. One secret or key of the settings after another is tried, and one key
// of the key set. Keys that a credential brings along (jwk, jku, x5c, x5u) are not looked at.
//
// # Key sets
//
// A key set (JWKS) is fetched when Run starts, each refreshEvery, and when a credential names
// a key that is not in it, for that once in cooldown at most. Verify waits for such a fetch,
// for patience at most.
//
//	           ┌──────────┐ fetched ┌─────────┐ failed  ┌───────────┐
//	  Run ────►│ no keys  │────────►│  good   │────────►│ last good │
//	           └──────────┘         └─────────┘◄────────└───────────┘
//	key known:  –                    verified   fetched  verified
//	unknown:    unavailable          see below           unavailable
//
// A key that is not in the set may have been published since the set was fetched. So a
// credential that names it is refused for good only if the last fetch began after the key was
// first named, began less than cooldown ago, and did not find it. Otherwise the answer is
// unavailable, with the time of the next fetch.
//
// # Refusals
//
// The caller learns one text for every defect. The log and refresher_credentials_total have
// the Reason. Neither holds a credential or the value of a claim; the log has the key's id.
package credential

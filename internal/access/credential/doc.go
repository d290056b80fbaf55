// Package credential verifies credentials, which are JWTs. Verify returns a session.Caller, which
// has the subject of the credential and the grants: the tokens that the subject may have. Package session
// checks whether the grants cover a request. docs/understand/adr/0013-credentials.md has the reasons.
//
// Each project has its own keys. With several projects, the claim app names the project whose
// keys are tried. The keys determine the accepted algorithms; the header never does:
//
//	secret (two while it is changed)   HS256, HS384, HS512
//	RSA, 2048 to 8192 bits             RS256, RS384, RS512, PS256, PS384, PS512
//	EC on P-256, P-384, P-521          ES256, ES384, ES512, one for each curve
//	Ed25519                            EdDSA
//
// Verify checks the length, the form, the header, the project, the signature and the claims, in
// this order: claims are read only if the signature is valid. It tries each configured secret or
// public key, and then one key of the key set. Keys in a credential's header (jwk, jku, x5c, x5u)
// are ignored.
//
// # Key sets
//
// Run fetches a key set (JWKS) at its start and then every 10 minutes (refreshEvery). A credential that names
// an unknown key causes a further fetch, but at most one in 10 s (fetchCooldown). Verify waits for that
// fetch, for at most 2 s (maxFetchWait).
//
//	         ┌─────────┐ fetched ┌──────┐ failed  ┌───────────┐
//	Run ────►│ no keys │────────►│ good │────────►│ last good │
//	         └─────────┘         └──────┘◄────────└───────────┘
//	                                      fetched
//
// In the state "no keys" the answer is "unavailable" for every key. In the states "good" and "last
// good", a credential with a known key is verified. In the state "last good", the answer for an
// unknown key is "unavailable".
//
// In the state "good", an unknown key may have been published since the set was fetched. So a credential that names an
// unknown key is refused permanently only if the last fetch began after a credential first named the key, began less
// than fetchCooldown ago, and did not find the key. Otherwise the answer is "unavailable", with the time
// until the next fetch.
//
// # Refusals
//
// The caller gets the same text for every defect of a credential. The log and the metric refresher_credentials_total
// have the Reason. Neither contains a credential or the value of a claim; the log has the key's id.
package credential

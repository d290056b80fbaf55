// Package calls holds calls at the judge of web/demo/edge with the tokens that
// the service gives them, as an SDK and an app would. The judge admits and drops
// by the token alone, and each call keeps a record of its own, a Tally, of what
// the service told it.
package calls

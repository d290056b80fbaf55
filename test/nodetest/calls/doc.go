// Package calls runs calls with the tokens that the service issues, as an SDK and an app would.
// The calls join web/demo/edge, a stand-in for Agora's servers, which admits and drops a call by
// its token alone, and records what happens. Each call also has a Tally, its own record of the
// tokens and events that it received from the service.
package calls

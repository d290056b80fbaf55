// Package origin decides which web pages may talk to the service: one rule for
// WebSocket handshakes and CORS alike.
//
//   - parse.go brings origins and hosts into one form, those of the settings and those
//     of requests by the same code: what is accepted as a setting can match.
//   - policy.go compares them.
//   - checker.go applies the policy to requests, and logs and counts what it refuses.
//   - loopback.go knows this machine's names for itself.
package origin

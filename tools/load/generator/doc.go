// Package generator simulates many calls against a service. For each call it checks that its
// tokens never expire and that their number in the session (seq) never decreases, and it
// measures how much lifetime the old tokens had left at each renewal.
//
// A call is one goroutine, one connection and a buffer of 64 bytes that grows for larger messages:
// 6 KB of heap and stack while it waits. It has no SDK: it uses its first tokens at once, and each later bundle after
// Config.AckDelay, one bundle after the other. It uses the protocol's state machine in internal/client, like package
// client, but frames its messages itself: with a WebSocket library each connection would have two more goroutines and 8
// KiB of buffers, too much for 100,000 calls.
//
// # Units
//
// Times are time.Time on this machine's clock. Times of the service's clock (now) are compared only
// with each other, except for expiries, which are converted by the difference between the clocks.
package generator

// Package generator makes many calls at a service and watches each: that its tokens
// never run out, that seq never falls, and how much life the old tokens had left
// at each renewal.
//
// A call here is one goroutine, one connection and a buffer of 64 B that grows for larger
// messages: 6 KB of heap and stack while it waits. It has no SDK. It uses its first tokens from when they came, and any others when
// Config.AckDelay is over; it takes one bundle after the other. It speaks the protocol by
// the state machine of internal/client, as package client does, but frames its messages
// itself: a connection of a WebSocket library holds two goroutines more and 8 KiB of
// buffers, which is what counts when there are a hundred thousand.
//
// # Units
//
// Moments are time.Time on this machine's clock. What the service says of its own
// clock (now) is compared with itself alone, but for the expiries, which are read
// by the lead of its clock over this one.
package generator

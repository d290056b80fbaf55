// Package client is a client of the service in Go: it joins, keeps the newest
// tokens, confirms them, and comes back by itself after every loss. The
// terminal command and the end-to-end tests are made of it; the load generator
// speaks the protocol by itself, see package load.
//
// It knows the protocol and what a good client owes it: full-jitter backoff,
// heartbeats, resuming with the newest key, obeying reconnect and the close
// codes, of which package protocol says what each means to a client. It does not know what tokens are used for.
package client

// Package protocol holds the words of the wire: every message of the
// WebSocket protocol refresher.v1, its close codes, the form of an error, and of a
// session's identity wherever the service says it.
// The meaning of each is in docs/build/protocol.md; docs/asyncapi.yaml describes the
// same messages to machines.
//
// The package turns bytes into the types of package session and back. It knows
// nothing of connections, of time, or of what a message does.
package protocol

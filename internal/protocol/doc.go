// Package protocol defines the messages of the WebSocket protocol refresher.v1, its close codes,
// and the JSON form of errors and of a session's identity. docs/build/protocol.md explains the
// protocol; docs/asyncapi.yaml describes the same messages for machines.
//
// The package converts between JSON and the types of package session. Connections, timing, and what
// a message does to a session are in other packages.
package protocol

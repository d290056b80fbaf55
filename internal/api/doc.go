// Package api answers plain HTTP: the classic token endpoints that Agora's
// UIKits and tutorials call, renewal for a client whose WebSocket is blocked, and
// what operators see and change. It knows paths, parameters, headers, the forms of
// answers, and which endpoints want which credential. It does not know how a
// token is made, when one is renewed, or how a change reaches other nodes.
//
// # What an answer says of other nodes
//
// A revocation has effect everywhere within a second, and the answer waits for that. It
// names the live nodes that have not acted yet (waitingFor). If the store cannot be reached
// the answer is 503 with, under done, what this node did.
package api

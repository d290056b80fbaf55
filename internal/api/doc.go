// Package api answers plain HTTP: the classic token endpoints that Agora's
// UIKits and tutorials call, renewal for a client whose WebSocket is blocked, and
// what operators see and order. It knows paths, parameters, headers, the forms of
// answers, and which endpoints want which credential. It does not know how a
// token is made, when one is renewed, or how an order reaches other nodes.
//
// # What an answer says of other nodes
//
// An order is carried out everywhere within about a second, and the answer waits
// for that. Nodes that have said nothing yet are named in it (silent). An order
// that could not be made durable is answered with 503 and, under done, with what
// was done all the same.
package api

// Package api answers plain HTTP: the classic token endpoints that Agora's
// UIKits and tutorials call, and renewal for a client whose WebSocket is
// blocked. It knows paths, parameters, headers and the forms of answers. It
// does not know how a token is made or when one is renewed.
package api

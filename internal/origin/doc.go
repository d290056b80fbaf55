// Package origin decides which web pages may use the service, for WebSocket handshakes and CORS alike. The
// same code normalises the origins in settings and in requests, so that each accepted setting can match a
// request.
package origin

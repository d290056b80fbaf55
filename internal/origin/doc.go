// Package origin decides which web pages may talk to the service: one rule for WebSocket
// handshakes and CORS alike. The origins of settings and those of requests are brought into one
// form by the same code, so that what is accepted as a setting can match.
package origin

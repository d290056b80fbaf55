// Package origin decides which web pages may talk to the service: one rule for WebSocket
// handshakes and CORS alike. The origins of settings and those of requests are brought into one
// form by the same code, so that every setting that is accepted can match.
package origin

// Package demo serves the demo: a page that shows a call between two people, and
// what holds that call. The page is a client of the public protocol like any other.
// What is here besides its files is what it needs and the service has not: something
// in Agora's place, and somebody who replaces the App Certificate.
//
//	GET  /                   the page
//	GET  /client/…           the browser library, refresher/web/client
//	GET  /demo/config.json   what the page has to know
//	GET  /demo/metrics       the service's metrics, from the page's own origin
//	GET  /demo/edge          WebSocket: the stand-in for Agora's edge
//	POST /demo/certificate   replaces the App Certificate
//
// Requests come here through the service's public port, which keeps out those that
// are addressed to another host, and changes by pages of other origins.
//
// # The edge
//
// The WebSocket speaks the line protocol of refresher/web/demo/edge, a line in each
// text frame, with or without its newline. A connection stands for one client; when
// it ends, so do its calls. With a real Agora project, calls are at Agora, and there
// is no such endpoint.
//
// # Replacing the certificate
//
//	     POST                                     Grace later
//	      │                                           │
//	edge  │ accepts old and new ──────────────────────┤ refuses the old
//	service signs with the new, knows the old ────────────────────────►
//
// The answer comes when the service signs with the new one: sessions are renewed with
// it from then on. Until the old one is refused there is no second
// replacement. What is refused is what is handed in: a call goes on to the end of the
// token that it is in by, and is lost there unless it got one under the new
// certificate.
package demo

// Package demo serves the demo: a page that shows a call between two people. The page
// is a client of the public protocol like any other. Besides its files, this package has
// what the service itself does not offer: a stand-in for Agora's edge, which holds the
// call, and an endpoint that replaces the App Certificate.
//
//	GET  /                   the page
//	GET  /client/…           the browser library, refresher/web/client
//	GET  /demo/config.json   the page's settings
//	GET  /demo/metrics       the service's metrics, from the page's own origin
//	GET  /demo/edge          WebSocket: the stand-in for Agora's edge
//	POST /demo/certificate   replaces the App Certificate
//
// With Config.WithoutPage only the library and the edge are served: the page has no
// credential, so it is of no use with a service that requires one.
//
// The service's public port refuses requests with another Host, and POST requests from
// pages of other origins, before they come here.
//
// # The edge
//
// The WebSocket speaks the line protocol of refresher/web/demo/edge, a line in each
// text frame, with or without its newline. A connection stands for one client; when the
// connection ends, its calls end too. Pages of other origins can connect if the service
// allows their origins. With a real Agora project, Agora holds the calls, and this endpoint
// does not exist.
//
// # Certificate rotation
//
//	     POST                                     Grace later
//	      │                                           │
//	edge  │ accepts old and new ──────────────────────┤ refuses the old
//	service signs with the new, knows the old ────────────────────────►
//
// The answer comes when the service signs with the new certificate: from then on it renews
// sessions with that certificate. A second rotation is refused until the edge refuses the
// old certificate. The edge checks a token only when a client presents it: a client in a
// call stays until its token expires, and is dropped then unless it has renewed with a
// token of the new certificate.
package demo

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
// With Config.WithoutPage there are the library and the edge alone: the page has no
// credential, so it cannot use a service that wants one.
//
// The service's public port refuses requests with another Host, and POST requests from
// pages of other origins, before they come here.
//
// # The edge
//
// The WebSocket speaks the line protocol of refresher/web/demo/edge, a line in each
// text frame, with or without its newline. A connection is one client; when it ends, so
// do its calls. Pages of other origins reach it if the service allows their origins. With
// a real Agora project, Agora holds the calls, and this endpoint does not exist.
//
// # Certificate rotation
//
//	     POST                                     Grace later
//	      │                                           │
//	edge  │ accepts old and new ──────────────────────┤ refuses the old
//	service signs with the new, knows the old ────────────────────────►
//
// The answer comes when the service signs with the new certificate: from then on sessions
// are renewed with it. A second rotation is refused until the edge refuses the old
// certificate. The edge refuses tokens when they are presented: a client that is in the
// call stays until its token expires, and is dropped then unless it got one under the new
// certificate.
package demo

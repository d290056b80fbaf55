// Package hook calls the customer's back end: it sends it events, and asks it whether a
// session may go on. Requests are signed as Standard Webhooks 1.0.0 says; docs/build/events.md
// and docs/build/approval.md have the format.
//
//		Events.Send          Approval.Ask
//		     │                    │
//		eventQueue           questionQueue         what waits, and what goes next
//		     └────────┬───────────┘
//		           client ──► endpoint ──► POST    one loop; sign, send, read
//		              │
//		           circuit                         whether the endpoint is tried at all
//
//	  - Events: each is one request, tried again until it is delivered, a day old, or
//	    answered with 410. Events of one session go out in the order of Send. Delivery is
//	    at least once, under the same id.
//	  - Approval: up to 100 questions are one request. A question is not asked again: an
//	    error means that there is no answer, and never a denial.
//
// The circuit of an endpoint opens after so many failures in a row, or on Retry-After
// (with 429 or 503). Open, one request goes out after each wait; the waits are random
// between 1 s and a bound that doubles. A request that began before the circuit last
// changed says nothing new of the endpoint, but for a Retry-After.
//
//	            trip failures in a row, or Retry-After
//	┌────────┐──────────────────────────────────────►┌────────┐──┐ the probe failed:
//	│ closed │                                       │  open  │  │ wait longer
//	└────────┘◄──────────────────────────────────────└────────┘◄─┘
//	                    a probe succeeded
//
// client.mu guards the queue and the circuit. Nothing that can block is called under it:
// no callback, no logger, no request.
//
// Neither a secret nor what a URL may hide (user, password, query) reaches a log or an
// error.
package hook

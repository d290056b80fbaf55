// Package hook calls your back end by two webhooks: it delivers events, and it requests
// approvals of sessions. Requests are signed by Standard Webhooks 1.0.0; docs/build/events.md
// and docs/build/approval.md describe the formats.
//
//		Events.Send          Approval.Request
//		     │                    │
//		eventQueue           approvalQueue         the waiting requests, in the order of sending
//		     └────────┬───────────┘
//		           client ──► endpoint ──► POST    one loop: sign, send, read the answer
//		              │
//		           circuit                         circuit breaker of the endpoint
//
//	  - Events: one HTTP request delivers one event. It is retried until it is delivered, a
//	    day old, or answered with 410. Events of one session are sent in the order of Send.
//	    An event may arrive more than once, always with the same id.
//	  - Approval: one HTTP request (batch) has up to 100 approval requests. They are not
//	    retried: an error means that there is no answer, never a denial.
//
// The circuit of an endpoint opens after a number of failures in a row (trip), or on a
// Retry-After header with status 429 or 503. While it is open, one probe is sent after each
// wait; the waits are random between 1 s and a bound that doubles. The outcome of a request
// that began before the circuit last changed is ignored, except for a Retry-After.
//
//	            trip failures in a row, or Retry-After
//	┌────────┐──────────────────────────────────────►┌────────┐──┐ the probe failed:
//	│ closed │                                       │  open  │  │ wait longer
//	└────────┘◄──────────────────────────────────────└────────┘◄─┘
//	                    a probe succeeded
//
// client.mu guards the queue and the circuit. While it is held, nothing is called that can
// block: no callback, no logger, no HTTP request.
//
// No log line or error contains a secret, or the user, password or query of a URL.
package hook

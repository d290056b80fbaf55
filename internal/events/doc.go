// Package events tells the customer's back end what becomes of its sessions:
// each event is one signed HTTP POST to one URL. It knows what an event looks
// like on the wire and how to get it there; it does not know when one happens,
// nor what was told before. Whoever calls Send keeps that record.
//
// # What is guaranteed
//
//   - Delivery is at least once. A receiver may see an event again, after a
//     lost answer or from another node, always under the same id.
//   - Events of one session arrive in the order of Send: the next one goes out
//     when the one before it was delivered or given up. Sessions do not wait
//     for each other. Order holds on one node; across a failover seq tells
//     which of two events is the newer.
//   - Send never blocks, and memory is bounded: QueueSize events wait at most.
//     Beyond that the oldest is dropped. It is the one most likely to be stale,
//     and the newest may be the one that has to wake a phone.
//   - An event that Send took is settled once: delivered, or given up because
//     the queue was full, it was MaxAge old, or the receiver answered 410 Gone.
//     Only what is left when Run returns is never settled: another node, which
//     shares the record of what was told, tells it again.
//
// # What an answer means
//
//	2xx           delivered
//	410           this event is not wanted, now or ever: given up
//	429 and 503   not now; Retry-After is obeyed, between 1 s and 5 min
//	anything else tried again: 3xx (no redirect is followed: what is signed for
//	              one address is not sent to another), other 4xx (a receiver
//	              that is set up wrongly loses nothing), 5xx, or no answer
//
// # When it fails
//
// Two waits, both random between 1 s and a bound that doubles with each failure.
// An event that failed waits by itself, up to 5 min, and the others go on. And
// the endpoint waits as a whole, up to 5 min when there is no answer (or 429,
// 502, 503, 504), and up to 10 s when it answers, but refuses: it may be the
// events that it does not like, and the next one is better.
//
//	             8 failures in a row, or Retry-After
//	┌────────┐──────────────────────────────────────►┌────────┐──┐ the probe failed:
//	│ closed │                                       │  open  │  │ wait longer
//	└────────┘◄──────────────────────────────────────└────────┘◄─┘
//	 Concurrency      a probe was answered           one attempt
//	 attempts at       with 2xx or 410               after each wait
//	 a time
//
// Events that have failed less often go first, and a probe takes a young one
// that has not failed yet. What the receiver never takes therefore delays the
// others by little, and is given up after MaxAge; it holds up the rest of its
// own session that long. An endpoint that is down costs one attempt every few
// minutes, however much waits for it.
//
// # The end
//
// When Run's context is done, what waits gets one more attempt each, for 5 s at
// most and until the endpoint proves to be failing. Cancel it after everything
// that calls Send has stopped.
//
// # The request
//
//	POST <events-url>
//	Content-Type: application/json
//	User-Agent: refresher
//	webhook-id: 7Q…-unreachable-12
//	webhook-timestamp: 1800000000
//	webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
//
//	{"id":"7Q…-unreachable-12","type":"session.unreachable","at":1800000000250,
//	 "session":"7Q…","node":"a","rtc":{"channel":"daily","uid":7,"role":"publisher"},
//	 "seq":12,"expiresAt":1800000300}
//
// at is Unix milliseconds, expiresAt Unix seconds, and the timestamp Unix seconds of
// this attempt. The id is that of the event, in every attempt. Package webhook says
// what is signed, and docs/events.md how a receiver verifies it.
//
// # Secrets
//
// Neither the secret nor what the URL may hide (user, password, query) reaches
// a log or an error: the endpoint is logged as scheme://host/path, and errors
// of net/http lose the URL that they carry.
//
// # Locks
//
// Sender.mu guards the queue and the circuit. It is a leaf: nothing is called
// under it that can block, no callback, no logger, no request.
package events

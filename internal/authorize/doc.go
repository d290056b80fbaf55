// Package authorize asks the customer's back end whether a session may go on:
// many questions travel in one signed HTTP POST to one URL. It knows how a
// question gets there and what its answer says; it does not know what follows
// from it. Above all, it does not know what is to become of a session that
// could not be asked about: an error of Ask is never a denial.
//
// # A question's way
//
//	Ask  Ask  Ask  ...            each in its caller's goroutine
//	 └────┼────┘
//	      ▼
//	┌───────────┐ joins, resumes  at most 75 of 100, if renewals wait
//	│   queue   │ renewals        at least 25 of 100, if they wait
//	└─────┬─────┘
//	      │ Run: 5 ms after the first, or when 100 wait;
//	      │      Concurrency requests at once, Rate a second
//	      ▼
//	  one POST ──► decisions, each to those who wait for it
//
// A person waits for a join or a resume, and nobody for a renewal, which has
// until the old tokens run out. A quarter of each request is kept for renewals,
// since joins that never cease would hold them up until then.
//
// Asks for the same thing about the same session that have not been sent yet
// share one entry. Once it was sent they don't: what the back end says could be
// older than the question.
//
// # What an answer means
//
//	200 with decisions  each is for the question with its id; one that is missing,
//	                    malformed, or there twice, is an error for that question
//	429 and 503         not now; Retry-After is obeyed, between 1 s and 30 s
//	anything else       an error for all that was asked: other statuses, no
//	                    answer within Timeout, more than 1 MiB, not JSON, no
//	                    decision at all, a redirect (none is followed)
//
// Nothing is asked again by itself: who asks knows whether that is worth it.
//
// # When it fails
//
// After 5 requests that fail in a row, or with Retry-After, the circuit opens
// (see package webhook): what waits and what is asked then fails at once. After
// each wait, random between 1 s and a bound that doubles up to 30 s, what is asked
// next goes out as a probe: one request of up to 100 questions. If nobody asks,
// there is no probe, and the circuit stays open.
//
// Ask never blocks for longer than Patience, and memory is bounded: QueueSize
// questions wait at most, of about 0.5 KiB each; beyond that Ask fails at once.
//
// # The request
//
//	POST <authorize-url>
//	Content-Type: application/json
//	User-Agent: refresher
//	webhook-id: K3VQ2XBN4A-1
//	webhook-timestamp: 1800000000
//	webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
//
//	{"requests":[{"id":"K3VQ2XBN4A-1","action":"renew","app":"970C…","session":"7Q…",
//	 "subject":"ana","rtc":{"channel":"daily","uid":7,"role":"publisher"}}]}
//
//	200 OK
//	{"decisions":[{"id":"K3VQ2XBN4A-1","allow":false,"reason":"no credit"}]}
//
// It is signed as an event is (package events). The answer is not: https is what
// says that it comes from the back end. Ids are of one request and never
// repeated, so that an old answer, from a cache or a recording, decides nothing. The
// request has the id of its first question.
//
// # Secrets
//
// Neither the secret nor what the URL may hide reaches a log or an error: the
// endpoint is logged as scheme://host. Nothing that a question holds is logged.
//
// # Locks
//
// Asker.mu guards the queue and the circuit. It is a leaf: nothing is called
// under it that can block, no logger, no request.
package authorize

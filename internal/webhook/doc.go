// Package webhook is what the calls to the customer's back end have in common:
// who they come from, and how not to be a burden to one that fails. It knows how
// a request is signed, where it may go, and when an endpoint that fails is tried
// again. It knows neither what a request says nor what its answer means: packages
// events and authorize do.
//
// # The signature
//
// Requests are signed as Standard Webhooks 1.0.0 says (www.standardwebhooks.com):
//
//	webhook-id: K3VQ2XBN4A-1
//	webhook-timestamp: 1800000000
//	webhook-signature: v1,<base64 of HMAC-SHA256(key, id + "." + timestamp + "." + body)>
//
// The id is the same for each attempt to send the same thing. The timestamp is in
// Unix seconds, of this attempt. While a secret is changed, requests are signed
// with the new one and the one before, and the header has both signatures,
// separated by a space; a receiver accepts either. docs/events.md tells receivers
// how to verify them; package webhooktest does it in tests.
//
// # When it fails
//
// An endpoint whose attempts fail so often in a row, or that answers with
// Retry-After, is left alone, and then tried with one attempt at a time. The
// waits are random between 1 s and a bound that doubles with each failure.
//
//	             Trip failures in a row, or Retry-After
//	┌────────┐──────────────────────────────────────►┌────────┐──┐ the probe failed:
//	│ closed │                                       │  open  │  │ wait longer
//	└────────┘◄──────────────────────────────────────└────────┘◄─┘
//	                    a probe succeeded
//
// # Secrets
//
// Neither the secret nor what the URL may hide (user, password, query) reaches
// an error: those of net/http lose the URL that they carry. Location and Origin
// are what a log may say.
package webhook

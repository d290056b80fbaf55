// Package limit holds how often one caller may do something, and works out who the caller is
// when proxies stand between. docs/understand/adr/0016-limits-and-addresses.md has the reasons.
//
// A Limiter gives each key a token bucket. It remembers the maxKeys keys that were used last,
// as hashes, about 200 bytes each. A key that was forgotten starts with a full bucket; that is
// worth something only to a caller with maxKeys keys, who has as many full buckets anyhow.
//
// An IPv4 address is one key, also when it is mapped into IPv6. Of IPv6 a /64 is one key: it is
// the least that a customer of a provider is given.
//
// X-Forwarded-For and Forwarded are written by whoever sends the request, and each proxy adds
// on the right whom it had it from. So they are read from the right, and believed only as far
// as trusted proxies wrote them. What is left of the client's address is its own claim and is
// never looked at.
//
// Proxies have to add to X-Forwarded-For or to set it. Ones that write only Forwarded must
// remove an X-Forwarded-For that comes in: that one counts when both are there.
package limit

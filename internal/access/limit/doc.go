// Package limit holds how often one caller may do something, and works out who
// the caller is when proxies stand between. It knows rates, addresses and two
// headers. It does not know what is limited, nor what a refusal looks like on
// the wire.
//
// # Rates
//
// A Limiter gives each key a bucket of Burst actions that fills up at Rate a
// second. Whoever acts at Rate or slower is never refused; over any span of t
// seconds a key gets at most Burst + Rate*t. A refused action costs nothing,
// so that a caller who hammers still gets Rate a second.
//
// # Memory
//
// Keys are kept as 64-bit sums under a random seed, at most MaxKeys of them,
// about 200 bytes each, however long the names are. Beyond that the key that
// was idle longest is forgotten, and starts with a full bucket when it comes
// back. That is worth something only to who has MaxKeys keys, and such a
// caller gains nothing: each of its keys has a full bucket anyhow.
//
// # Addresses
//
// An IPv4 address is one key, also when it is mapped into IPv6. Of IPv6 a /64
// is one key: it is the least that a customer of a provider is given, and
// whoever has it has all 2^64 of its addresses.
//
// # Proxies
//
// X-Forwarded-For and Forwarded are written by whoever sends the request, and
// each proxy adds on the right whom it had it from. So they are read from the
// right, and believed only as far as trusted proxies wrote them: the client is
// the first address from the right that is no trusted proxy's. What stands
// left of it is the client's own claim and is never looked at.
//
// Proxies have to add to X-Forwarded-For or to set it. Ones that write only
// Forwarded must remove an X-Forwarded-For that comes in, since that one counts
// when both are there.
package limit

// Package limit limits how often one caller may act, and finds the caller's address behind
// proxies. docs/understand/adr/0016-limits-and-addresses.md has the reasons.
//
// A Limiter gives each key a token bucket. It keeps the maxKeys most recently used keys, as
// hashes, in about 200 bytes each. A key that was evicted starts again with a full bucket. Only
// a caller with more than maxKeys keys could gain from that, and such a caller already has that many buckets.
//
// An IPv4 address is one key, even if it is mapped into IPv6. Of IPv6 addresses, each /64 is one
// key, since internet providers give every customer at least a /64.
//
// Clients can write X-Forwarded-For and Forwarded headers themselves. Each proxy appends the
// address of its peer on the right. So the headers are read from the right, and each entry is
// believed only if a trusted proxy appended it; entries further to the left are ignored.
//
// A trusted proxy must append to X-Forwarded-For or set it. A proxy that writes only Forwarded
// must remove an incoming X-Forwarded-For, which takes precedence if both headers are present.
package limit

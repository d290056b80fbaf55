// Package redis keeps the sessions in Redis, so that any number of nodes share one
// schedule, and the revocations. It implements what package store describes, in Lua scripts
// that Redis runs atomically, one for each operation. It is the only package that knows
// go-redis, and knows nothing of how a session is renewed, or what a revocation ends.
//
// # Keys
//
// docs/redis.md names all keys, and explains a session's record. The sessions are spread
// over 64 shards. All keys of a shard carry its hash tag, so that each script stays within
// one slot of a cluster; leases and what nodes say of themselves are in another slot, and
// all revocations in a third, since each node reads all of them.
//
// A session is a hash, whose fence decides who may write it, and a member of its shard's
// sorted set due for as long as it is open. The hash of one that was ended on purpose stays
// as its tombstone, with a time to live. Lists of sessions scan due in slices.
//
// # Time
//
// Leases and what is overdue go by the clock of the server that keeps the leases, so that
// nodes need not agree on the time to the second. Due times are written by the nodes.
//
// # Failures
//
// No command is retried here, since whoever asked for it knows better whether it
// still matters, but for one whose connection had been closed as idle: that is sent
// once more. A command may have been done although no answer came; all of them can be
// repeated. A connection that answers READONLY, because its server was demoted,
// is closed, so that the next one goes to the new master. One that was idle is looked
// at before it is used again, with TLS too, and not used after half a minute: the
// server, or a balancer before it, may have closed it.
package redis

// Package redis keeps the sessions in Redis, so that any number of nodes share one
// schedule, and the revocations. It implements what package store describes, in Lua scripts
// that Redis runs atomically, one for each operation. It is the only package that knows
// go-redis, and knows nothing of how a session is renewed, or what a revocation ends.
//
// # Keys
//
// docs/understand/redis.md names all keys, and explains a session's record. The sessions are spread
// over 64 shards. All keys of a shard carry its hash tag, so that each script stays
// within one slot of a cluster; leases and the nodes' statuses are in another slot, and
// all revocations in a third, since each node reads all of them.
//
// A session is a hash, whose fence decides who may write it, and a member of its shard's
// sorted set due for as long as it is open. When a session is ended on purpose, its hash
// stays as a tombstone, with a time to live. Lists of sessions scan due in slices.
//
// # Time
//
// When a lease ends, and whether a session is overdue, is decided by the clock of the
// server that keeps the leases, so that nodes need not agree on the time to the second.
// Due times are written by the nodes.
//
// # Failures
//
// Commands are not retried here, since the caller knows better whether a command still
// matters. The one exception is a command whose connection had been closed as idle: it is
// sent once more. A command may have been executed although no answer came; every command
// is safe to repeat. A connection that answers READONLY, because its server was demoted,
// is closed, so that the next one goes to the new master. An idle connection is checked
// before it is reused, with TLS too, and never reused after half a minute: the server, or
// a load balancer before it, may have closed it.
package redis

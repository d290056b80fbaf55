// Package redis implements package store's operations in Redis, so that any number of nodes
// share the sessions and the revocations. Each operation is a Lua script, which Redis runs
// atomically. No other package imports go-redis.
//
// # Keys
//
// docs/understand/redis.md lists all keys and describes a session's record. The sessions are
// spread over 64 shards. All keys of a shard have the same hash tag, so that each script
// stays within one slot of a cluster. Leases and the nodes' statuses are in another slot, and
// all revocations in a third, since each node reads all of them.
//
// A session is a hash, whose fence decides who may write it, and, while it is open, a member
// of its shard's sorted set "due". When a session is ended on purpose, its hash stays as a
// tombstone, with a time to live. Listings scan "due" in slices.
//
// # Time
//
// The clock of the server that has the leases decides when a lease ends and whether a session
// is overdue, so that the nodes' clocks need not agree to the second. Nodes write due times
// by their own clocks: if a node's clock is ahead, its sessions are claimed later after it died.
//
// # Failures
//
// The package does not retry commands, since the caller knows whether a command still
// matters. The one exception is a command that was sent on a connection which the server had
// closed while it was idle: the package sends this command again. A command without an answer
// may have been executed, so every command is safe to repeat. If a server answers READONLY,
// because it was demoted, the connection is closed, so that the next connection goes to the new
// master. An idle connection is checked before it is reused, with TLS too, and is not reused
// after 30 s, since the server, or a load balancer, may have closed it.
package redis

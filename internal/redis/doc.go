// Package redis keeps the sessions in Redis, so that any number of nodes share
// one schedule, and the revocations. It implements what package
// store describes, in Lua scripts that Redis runs atomically, one for each
// operation. It is the only package that knows go-redis, and knows nothing of how a
// session is renewed, or what a revocation ends.
//
// # Keys
//
// The sessions are spread over 64 shards. All keys of a shard carry its hash tag,
// so that each script stays within one slot of a cluster:
//
//	{refresher:07}:due       sorted set: session id by when it next needs
//	                         attention, in Unix milliseconds
//	{refresher:07}:generation  string: random name of the shard's data, which is
//	                         another one after the data was lost
//	{refresher:07}:s:<id>    hash: the session, see codec.go
//	refresher:node:<node>    channel: ids of sessions that others took from node
//
// A session stands in due for as long as it is open. The hash of one that was ended on
// purpose stays for a while, as its tombstone, with a time to live. Lists of sessions
// scan due in slices.
//
// What concerns the nodes is in one slot. Each node has one lease, which says whether it
// is alive; nothing else depends on it, see store.Swept:
//
//	{refresher:nodes}:leases         sorted set: node by the end of its lease, in
//	                                 Unix milliseconds
//	{refresher:nodes}:status:<node>  hash: what the node says of itself, by topic
//
// All revocations are in one slot, since each node reads all of them:
//
//	{refresher:revocations}:all         hash: "<change> <version> <JSON>" by id
//	{refresher:revocations}:until       sorted set: id by when it is over, in Unix
//	                                    seconds
//	{refresher:revocations}:version     string: "<random> <change>", another after
//	                                    each change
//	{refresher:revocations}:ended:<id>  hash: "<sessions> <end of their tokens>" by
//	                                    node
//	refresher:revocations               channel: the versions before and after a
//	                                    change, and what has changed
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

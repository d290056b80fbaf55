package redis

import (
	"fmt"

	"refresher/internal/store"
)

// keys holds the names of all keys and channels in Redis. Each name contains the prefix,
// which separates services that share a server. The names in `sessions`, `channel`,
// `statuses` and `ended` are incomplete: the id of a session, node or revocation is appended.
type keys struct {
	due, generation [store.Shards]string
	sessions        [store.Shards]string
	channel         string
	leases          string
	statuses        string
	revocations     revocationKeys
}

// revocationKeys holds the keys of the revocations, which are all in one slot, and the
// channel of their changes.
type revocationKeys struct {
	all, until, version string
	ended               string
	channel             string
}

func newKeys(prefix string) *keys {
	k := &keys{channel: prefix + ":node:"}
	for shard := range store.Shards {
		tag := fmt.Sprintf("{%s:%02d}", prefix, shard)
		k.due[shard] = tag + ":due"
		k.generation[shard] = tag + ":generation"
		k.sessions[shard] = tag + ":s:"
	}
	tag := fmt.Sprintf("{%s:nodes}", prefix)
	k.leases, k.statuses = tag+":leases", tag+":status:"
	tag = fmt.Sprintf("{%s:revocations}", prefix)
	k.revocations = revocationKeys{
		all: tag + ":all", until: tag + ":until", version: tag + ":version", ended: tag + ":ended:",
		channel: prefix + ":revocations",
	}
	return k
}

func (k *keys) status(node string) string { return k.statuses + node }

func (k *keys) session(shard int, id string) string { return k.sessions[shard] + id }

package redis

import (
	"fmt"

	"refresher/internal/store"
)

// keys are the names of all that is kept in Redis. Prefix keeps services that
// share a server apart.
type keys struct {
	due, leases, meta [store.Shards]string
	sessions          [store.Shards]string // to be followed by the id
	channel           string               // to be followed by the node
}

func newKeys(prefix string) *keys {
	k := &keys{channel: prefix + ":node:"}
	for shard := range store.Shards {
		tag := fmt.Sprintf("{%s:%02d}", prefix, shard)
		k.due[shard] = tag + ":due"
		k.leases[shard] = tag + ":leases"
		k.meta[shard] = tag + ":meta"
		k.sessions[shard] = tag + ":s:"
	}
	return k
}

// session is the key of a session's hash.
func (k *keys) session(shard int, id string) string { return k.sessions[shard] + id }

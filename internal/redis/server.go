package redis

import (
	"context"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

// lookAtServers checks the settings of the servers when there may be new ones.
func (s *Store) lookAtServers(ctx context.Context, swept *[store.Shards]store.Swept) {
	if !s.changed(swept) {
		return
	}
	var err error
	if cluster, ok := s.client.(*goredis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error { return s.lookAt(ctx, c) })
	} else {
		err = s.lookAt(ctx, s.client)
	}
	if err != nil {
		s.logger.Debug("the server does not tell its settings", "error", err)
	}
}

// changed reports whether a shard has another generation than at the last sweep.
func (s *Store) changed(swept *[store.Shards]store.Swept) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for shard := range swept {
		if g := swept[shard].Generation; g != "" && g != s.generations[shard] {
			s.generations[shard] = g
			changed = true
		}
	}
	return changed
}

// lookAt warns of a server that may throw sessions away when its memory is full,
// and of one that does not let this user send notices. In scripts that goes
// unnoticed: what they have to say is not worth to fail for.
func (s *Store) lookAt(ctx context.Context, c goredis.Cmdable) error {
	info, err := c.Info(ctx, "memory").Result()
	for line := range strings.Lines(info) {
		policy, found := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
		if found && policy != "noeviction" {
			s.logger.Warn("Redis may evict sessions when its memory is full; set maxmemory-policy to noeviction", "maxmemory_policy", policy)
		}
	}
	// The one is nobody's, and whoever follows the other looks once too often.
	for _, channel := range []string{s.keys.channel, s.keys.board.channel} {
		refused := c.Publish(ctx, channel, "").Err()
		if goredis.HasErrorPrefix(refused, "NOPERM") {
			s.logger.Warn("the Redis user may not publish; other nodes learn of what they lost to this one, and of orders, later than they could",
				"channel", channel, "error", refused)
		}
	}
	return err
}

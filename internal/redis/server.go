package redis

import (
	"context"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

// server is a Redis server that holds some of the shards.
type server struct {
	client goredis.Cmdable
	run    string // the run_id of the server's process; empty if the server does not answer INFO
}

// servers returns the server of each shard, or nil for a shard whose server is not known.
func (s *connection) servers(ctx context.Context) (servers [store.Shards]*server) {
	known := make(map[goredis.Cmdable]*server)
	var wait sync.WaitGroup
	defer wait.Wait()
	for shard, key := range s.keys.due {
		client := goredis.Cmdable(s.client)
		if cluster, ok := s.client.(*goredis.ClusterClient); ok {
			master, err := cluster.MasterForKey(ctx, key)
			if err != nil {
				continue
			}
			client = master
		}
		if known[client] == nil {
			asked := &server{client: client}
			known[client] = asked
			wait.Go(func() { asked.run = infoOf(ctx, client, "server", "run_id") })
		}
		servers[shard] = known[client]
	}
	return servers
}

// infoOf returns one field of the server's INFO, or "" if the server does not give it.
func infoOf(ctx context.Context, client goredis.Cmdable, section, field string) string {
	info, _ := client.Info(ctx, section).Result()
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return value
		}
	}
	return ""
}

// addRuns appends the run_id of each shard's server to the shard's generation, which identifies the
// shard's data. The run_id changes with a restart or a failover, which can lose the latest writes
// even if the other data is still there. A server that does not answer INFO counts as unchanged. If
// a generation has changed, addRuns checks the settings of the shard's server.
func (s *Store) addRuns(ctx context.Context, swept *[store.Shards]store.Swept) {
	servers := s.servers(ctx)
	changed := make(map[*server]struct{})
	s.mu.Lock()
	for shard := range swept {
		generation, on := &swept[shard].Generation, servers[shard]
		if *generation == "" {
			continue
		}
		_, run, _ := strings.Cut(s.lastGenerations[shard], " ")
		if on != nil && on.run != "" {
			run = on.run
		}
		*generation += " " + run
		if *generation != s.lastGenerations[shard] && on != nil {
			changed[on] = struct{}{}
		}
		s.lastGenerations[shard] = *generation
	}
	s.mu.Unlock()
	for server := range changed {
		s.checkSettings(ctx, server.client)
	}
}

// checkSettings warns if the server may evict sessions when its memory is full, and if this
// node's Redis user may not publish. The scripts ignore a refused PUBLISH, since other nodes
// find the change without a notice, only later.
func (s *connection) checkSettings(ctx context.Context, c goredis.Cmdable) {
	if policy := infoOf(ctx, c, "memory", "maxmemory_policy"); policy != "" && policy != "noeviction" {
		s.logger.Warn("Redis may evict sessions when its memory is full; set maxmemory-policy to noeviction", "maxmemory_policy", policy)
	}
	// The two test messages do no harm: no node subscribes to the first channel, and an empty
	// message on the second channel only makes each node check the revocations once.
	for _, channel := range []string{s.keys.channel, s.keys.revocations.channel} {
		refused := c.Publish(ctx, channel, "").Err()
		if goredis.HasErrorPrefix(refused, "NOPERM") {
			s.logger.Warn("the Redis user may not publish; other nodes learn late of moved sessions and revocations",
				"channel", channel, "error", refused)
		}
	}
}

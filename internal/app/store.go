package app

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/cluster"
	"refresher/internal/redis"
	"refresher/internal/store"
)

// Store is all that a store is used for.
type Store interface {
	cluster.Store
	cluster.Records
	store.Lister
	store.Revocations
	store.Nodes
}

// openStore is where the sessions are kept: in Redis, or in this process.
func openStore(c Config, logger *slog.Logger, r prometheus.Registerer) (Store, error) {
	if c.RedisURL == "" {
		if c.RedisCAFile != "" || c.RedisCertFile != "" || c.RedisKeyFile != "" {
			return nil, errors.New("redis-ca-file, redis-cert-file, redis-key-file: set without redis-url")
		}
		return store.NewMemory(time.Now), nil
	}
	apps := make([]string, len(c.Projects))
	for i := range c.Projects {
		apps[i] = c.Projects[i].AppID
	}
	return redis.New(redis.Config{
		Apps: apps, URL: c.RedisURL, CAFile: c.RedisCAFile, CertFile: c.RedisCertFile, KeyFile: c.RedisKeyFile, Prefix: c.RedisPrefix,
		Logger: logger.With("component", "redis"), Registerer: r,
	})
}

// maxHostName keeps records in Redis small.
const maxHostName = 20

// nodeName is a name for this process, which no other has or had: the host's,
// for people, and something random.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	return host[:min(len(host), maxHostName)] + "-" + rand.Text()[:8]
}

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

// Store has all methods that the packages need of a store.
type Store interface {
	cluster.Store
	cluster.Records
	store.Lister
	store.Revocations
	store.Nodes
}

// openStore returns a store in Redis, or if no URL is set, a store in memory.
func openStore(c Config, logger *slog.Logger, r prometheus.Registerer) (Store, error) {
	if c.Redis.URL == "" {
		if c.Redis.CAFile != "" || c.Redis.CertFile != "" || c.Redis.KeyFile != "" {
			return nil, errors.New("redis-ca-file, redis-cert-file, redis-key-file: set without redis-url")
		}
		return store.NewMemory(time.Now), nil
	}
	for i := range c.Projects {
		c.Redis.Apps = append(c.Redis.Apps, c.Projects[i].AppID)
	}
	c.Redis.Logger, c.Redis.Registerer = logger.With("component", "redis"), r
	return redis.New(c.Redis)
}

// maxHostName is the longest part of the host name in a node's name. It is short, since each record in Redis has the
// node's name.
const maxHostName = 20

// nodeName returns a unique name for this process: the host name, for people, and a random part.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	return host[:min(len(host), maxHostName)] + "-" + rand.Text()[:8]
}

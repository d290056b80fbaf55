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

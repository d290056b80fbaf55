package app

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/project"
	"refresher/internal/redis"
)

// openStore passes the App IDs of all projects to the store in Redis, which refuses two App IDs that begin with the
// same characters.
func TestStoreKnowsAllProjects(t *testing.T) {
	c := Config{Redis: redis.Config{URL: "redis://127.0.0.1:1"}}
	c.Projects = []project.Project{{AppID: "0123456789abcdef0123456789abcdef"}, {AppID: "01234567ffffffffffffffffffffffff"}}
	_, err := openStore(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), c.Projects[0].AppID) || !strings.Contains(err.Error(), c.Projects[1].AppID) {
		t.Error(err)
	}
}

package redistest

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// These patterns match the log lines of a replica and of its master when the replica has all data.
const (
	replicaSynced = `MASTER <-> REPLICA sync: (Finished with success|Master accepted a Partial Resynchronization)`
	masterSynced  = `Synchronization with replica \S+ succeeded`
)

const clusterIsUp = `Cluster state changed: ok`

const masters = 3

// Cluster is a Redis Cluster of three masters with a replica each.
type Cluster struct {
	// Servers are all six servers, the three initial masters first.
	Servers []*Server

	t         testing.TB
	authority *Authority
	ids       map[*Server]string
}

// StartCluster runs a cluster, and returns when all its nodes know each other and every
// replica is synchronised.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	return startCluster(t, nil)
}

// StartClusterTLS is StartCluster with TLS. Each server has its own loopback address and a
// certificate for only this address, and requires a certificate of its clients.
func StartClusterTLS(t testing.TB, a *Authority) *Cluster {
	t.Helper()
	return startCluster(t, a)
}

func startCluster(t testing.TB, a *Authority) *Cluster {
	t.Helper()
	began := time.Now()
	c := &Cluster{t: t, authority: a, ids: make(map[*Server]string)}
	create := []string{"--cluster", "create"}
	for i := range 2 * masters {
		s, config := newMember(t, a, plainKind, tlsKind, i)
		if a != nil {
			config = append(config, "tls-cluster yes", "cluster-announce-ip "+s.host)
		}
		s.start(append(config,
			"cluster-enabled yes",
			"cluster-node-timeout 1500",
			// This is Redis's default: while one shard has no master, no node accepts commands for any shard. It is the
			// worst case for a client in a failover. With it, every node of the service logs the beginning and the end
			// of the failover.
			"cluster-require-full-coverage yes",
			// Nodes show a replica to clients only after its master has sent it something. A
			// ping is enough, but by default pings come every ten seconds.
			"repl-ping-replica-period 1",
		)...)
		c.Servers = append(c.Servers, s)
		c.ids[s] = s.Do("CLUSTER", "MYID")
		create = append(create, s.Addr())
	}
	c.cli(append(create, "--cluster-replicas", "1", "--cluster-yes")...)
	for _, s := range c.Servers {
		s.await(began, clusterIsUp)
		s.await(began, replicaSynced+"|"+masterSynced)
	}
	return c
}

func (c *Cluster) cli(args ...string) {
	c.t.Helper()
	if c.authority != nil {
		certFile, keyFile := c.authority.Issue("redis-cli")
		args = append([]string{"--tls", "--cacert", c.authority.CAFile, "--cert", certFile, "--key", keyFile}, args...)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "redis-cli", args...) //nolint:gosec // the arguments are this package's own.
	cmd.Env = []string{}                                  // redis-cli would take passwords from the environment
	if output, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("redistest: redis-cli (make setup installs it): %v\n%s", err, output)
	}
}

// URL returns the cluster's address for a client, with the three initial masters:
// redis+cluster://host:port?addr=host:port&addr=host:port.
func (c *Cluster) URL() string {
	return manyURL("cluster", c.Servers[:masters], nil)
}

// MasterOf returns the master of the key. It uses the newest information of all nodes: a former master that has been
// restarted considers itself the master until the other nodes inform it.
func (c *Cluster) MasterOf(key string) *Server {
	c.t.Helper()
	var newest int64 = -1
	var master *Server
	for _, witness := range c.Servers {
		if !witness.answers() {
			continue
		}
		slot, err := strconv.Atoi(witness.Do("CLUSTER", "KEYSLOT", key))
		if err != nil {
			c.t.Fatalf("redistest: CLUSTER KEYSLOT: %v", err)
		}
		if s, epoch := c.ownerOf(slot, witness); epoch > newest {
			newest, master = epoch, s
		}
	}
	if master == nil {
		c.t.Fatalf("redistest: no node that runs knows a master of %q", key)
	}
	return master
}

// ownerOf returns the master of a slot according to one node, the witness, and the epoch in which that server became
// master. The epoch is -1 if the witness knows no master.
func (c *Cluster) ownerOf(slot int, witness *Server) (*Server, int64) {
	c.t.Helper()
	// The answer to CLUSTER NODES has one line for each node: id, address, flags, master, two times, epoch, state
	// of the link. For a master, the ranges of its slots follow.
	const epochField, slotsField = 6, 8
	for line := range strings.Lines(witness.Do("CLUSTER", "NODES")) {
		fields := strings.Fields(line)
		for _, slots := range fields[min(slotsField, len(fields)):] {
			if !inRange(slot, slots) {
				continue
			}
			epoch, err := strconv.ParseInt(fields[epochField], 10, 64)
			if err != nil {
				c.t.Fatalf("redistest: CLUSTER NODES: %v in %s", err, line)
			}
			for s, id := range c.ids {
				if id == fields[0] {
					return s, epoch
				}
			}
		}
	}
	return nil, -1
}

// inRange reports whether a range such as 0-5460, or a single slot, contains the slot.
func inRange(slot int, slots string) bool {
	first, last, ok := strings.Cut(slots, "-")
	if !ok {
		last = first
	}
	low, err := strconv.Atoi(first)
	if err != nil {
		return false
	}
	high, err := strconv.Atoi(last)
	return err == nil && low <= slot && slot <= high
}

// AwaitFailover waits until a replica has replaced a killed or paused master, and every running node knows the replica
// as the master.
func (c *Cluster) AwaitFailover(dead *Server) {
	c.t.Helper()
	if dead.answers() {
		c.t.Fatalf("redistest: await the failover of %s: it runs: kill or pause it first", dead.Addr())
	}
	failed := `(about|Marking node) ` + c.ids[dead]
	for _, s := range c.Servers {
		if s.answers() {
			// The state "up" means that every slot has a master that has not failed.
			s.await(dead.gone, failed, clusterIsUp)
		}
	}
}

// newMember prepares the i-th server of a cluster or of a group with sentinels, and returns the settings that all these
// servers have. With an authority the server uses TLS, and has its own loopback address and a certificate for it.
func newMember(t testing.TB, a *Authority, plain, secure kind, i int) (s *Server, config []string) {
	t.Helper()
	if a == nil {
		return newServer(t, plain), nil
	}
	s = newServer(t, secure)
	s.host = fmt.Sprintf("127.0.0.%d", i+2)
	return s, append(a.settings(s.host), "tls-replication yes")
}

func anyAnswering(t testing.TB, servers []*Server) *Server {
	t.Helper()
	for _, s := range servers {
		if s.answers() {
			return s
		}
	}
	t.Fatal("redistest: all servers are killed or paused")
	return nil
}

// manyURL returns the address of several servers: the first server as the host, the others as parameters named addr.
func manyURL(kind string, servers []*Server, query url.Values) string {
	u := url.URL{Scheme: servers[0].kind.scheme + "+" + kind, Host: servers[0].Addr()}
	var parameters []string
	if len(query) > 0 {
		parameters = append(parameters, query.Encode())
	}
	for _, s := range servers[1:] {
		parameters = append(parameters, "addr="+s.Addr())
	}
	u.RawQuery = strings.Join(parameters, "&")
	return u.String()
}

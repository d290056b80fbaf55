package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/session"
	"refresher/internal/store"
)

// leases holds the leases of all nodes. Its times are on the clock of the Redis server.
type leases struct {
	now   session.UnixMilli
	asked time.Time                    // what this node's clock showed when the server's clock showed `now`, to within half a round trip
	since session.UnixMilli            // when the oldest lease data was written
	ends  map[string]session.UnixMilli // the end of each node's lease; an entry stays for store.NodeKept after that
}

// leasesSince is a member of the sorted set of leases that is not a node. Its score is
// leases.since, negated.
const leasesSince = "since"

// settled reports whether a node without a lease counts as dead. It returns false while the
// lease data is younger than store.Lease: Redis may have lost its data, and live nodes need
// that time to renew their leases.
func (l *leases) settled() bool { return l.now >= l.since.Add(store.Lease) }

func (l *leases) live() (nodes []string) {
	for node, end := range l.ends {
		if end > l.now {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// lease renews the lease of a node for the time `length`, or ends that lease if `length` is
// 0, and returns all leases. If `node` is empty, it only reads the leases.
func (s *Store) lease(ctx context.Context, node string, length time.Duration) (leases, error) {
	began := time.Now()
	reply, err := leaseScript.Run(ctx, s.client, []string{s.keys.leases, s.keys.status(node)}, s.clock(), node, length.Milliseconds(), store.NodeKept.Milliseconds()).Slice()
	if err != nil {
		return leases{}, err
	}
	if len(reply)%2 == 0 {
		return leases{}, fmt.Errorf("unexpected answer %q", reply)
	}
	now, _ := reply[0].(int64)
	l := leases{now: session.UnixMilli(now), asked: began.Add(time.Since(began) / 2)}
	l.ends = make(map[string]session.UnixMilli, len(reply)/2)
	for node, text := range pairs(reply[1:]) {
		score, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
			return leases{}, fmt.Errorf("the lease of %s ends at %q", node, text)
		case node == leasesSince:
			l.since = session.UnixMilli(-score)
		default:
			l.ends[node] = session.UnixMilli(score)
		}
	}
	s.rememberNames(l.ends)
	return l, nil
}

// rememberNames stores the full names of the nodes in s, since records contain only the
// nodes' ids.
func (s *Store) rememberNames(ends map[string]session.UnixMilli) {
	names := make(map[string]string, len(ends))
	for node := range ends {
		names[store.NodeID(node)] = node
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = names
}

// SetStatus replaces node's status of the given topic. See store.Nodes.
func (s *Store) SetStatus(ctx context.Context, node, topic, status string) (err error) {
	defer s.metrics.observe("nodes", time.Now(), &err)
	err = s.pipeline(ctx, func(p goredis.Pipeliner) {
		p.HSet(ctx, s.keys.status(node), topic, status)
		p.PExpire(ctx, s.keys.status(node), store.NodeKept)
	})
	if err != nil {
		return fmt.Errorf("set status: %w", err)
	}
	return nil
}

// Statuses returns the status of the given topic of each node whose lease has not expired.
// See store.Nodes.
func (s *Store) Statuses(ctx context.Context, topic string) (statuses map[string]string, err error) {
	defer s.metrics.observe("nodes", time.Now(), &err)
	leases, err := s.lease(ctx, "", 0)
	if err != nil {
		return nil, fmt.Errorf("statuses: %w", err)
	}
	found := make(map[string]*goredis.StringCmd)
	err = s.pipeline(ctx, func(p goredis.Pipeliner) {
		for _, node := range leases.live() {
			found[node] = p.HGet(ctx, s.keys.status(node), topic)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("statuses: %w", err)
	}
	statuses = make(map[string]string, len(found))
	for node, status := range found {
		statuses[node] = status.Val()
	}
	return statuses, nil
}

package planner

import (
	"fmt"
	"math"

	"refresher/internal/client"
)

// Thresholds of warnings.
const (
	// leastLife is how many seconds of their lifetime tokens should have left after a storm. The storm may take that
	// much longer if the load balancer finds the nodes one after the other; see docs/operate/scaling.md.
	leastLife      = 30.0
	manySweeps     = 0.25 // share of the core that a Redis server uses
	manyMessages   = 20_000.0
	manySeriesFrom = 200 // nodes
)

// warnings lists the limits that the plan exceeds, in the order in which they are reached.
func (p *planner) warnings(out *Plan) []string {
	var all []string
	warn := func(when bool, format string, args ...any) {
		if when {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	s := out.Storm
	warn(s.Least < 0, "in the storm calls lose their tokens: the last client is back after %s, and tokens have %s when they are due; raise --join-rate, nodes or --renew-before", span(s.Seconds), span(p.headStart))
	warn(s.Least >= 0 && s.Least < leastLife, "in the storm a call may be down to %s of life", span(s.Least))
	unnoticed := p.unnoticed(p.headStart)
	warn(p.headStart < unnoticed, "a client sees that a machine has gone silent after up to %s, which is longer than the %s that tokens have when they are due; lengthen --ttl or --renew-before", span(unnoticed), span(p.headStart))
	warn(s.FirstWave/p.in.NodeCores > firstWaveSeconds, "the first attempts of all clients in a reconnect storm take each node's cores %s, and clients wait no longer than %s for an answer; more nodes, or cores", span(s.FirstWave/p.in.NodeCores), client.AnswerTimeout)
	warn(s.Cores > p.in.NodeCores*stormCPUShare, "at --join-rate %s a node is busy with %.1f of its %.1f cores in the storm: renewals come late; lower it, or add nodes", rate(p.joinRate), s.Cores, p.in.NodeCores)
	warn(out.Nodes.Memory > memoryShare*float64(p.in.NodeMemory), "a node's share of the calls takes %s, more than is good for its %s; more nodes, or memory", Bytes(out.Nodes.Memory), Bytes(float64(p.in.NodeMemory)))
	warn(out.Nodes.Cores > cpuShare*p.in.NodeCores+nodeIdleMicros/1e6, "a node is busy with %.1f of its %.1f cores in ordinary times; more nodes, or cores", out.Nodes.Cores, p.in.NodeCores)
	warn(out.Nodes.Count == 1, "with one node each restart is a storm that meets nobody; have two")
	warn(out.Redis.Masters > maxMasters, "Redis would need %d masters, and the 64 shards can use no more than %d", out.Redis.Masters, maxMasters)
	m := float64(min(out.Redis.Masters, maxMasters))
	warn(p.in.RedisMasters > 0 && out.Redis.Storm > m*redisStormShare, "%d Redis masters are too few for the storm, which takes %.1f of their cores: resumes fall back on the clients' keys", out.Redis.Masters, out.Redis.Storm)
	warn(out.Redis.Sweeps > manySweeps*m, "the leases of %d nodes keep Redis busy with %.1f cores", out.Nodes.Count, out.Redis.Sweeps)
	warn(out.Redis.Messages > manyMessages, "in the storm each session that moves is published to all servers of the cluster: %s messages a second on its bus", Number(out.Redis.Messages))
	echoCores := (out.Echo-out.Renewals)*sharedRenewalMicros/1e6/float64(out.Nodes.Count) + out.Nodes.Cores
	warn(echoCores > cpuShare*p.in.NodeCores, "one lifetime after the storm %s renewals a second keep a node busy with %.1f of its %.1f cores, for %s", Number(out.Echo), echoCores, p.in.NodeCores, span(math.Max(p.jitter, s.Seconds)))
	echoRedis := (out.Echo-out.Renewals)*redisRenewalMicros/1e6 + out.Redis.Cores
	warn(echoRedis > redisStormShare*m, "one lifetime after the storm the same renewals keep Redis busy with %.1f cores; writes come late, pushes do not wait for them", echoRedis)
	warn(out.Proxy.Addresses > 1, "a proxy with one address has %d ports to each node, which has %d connections: give it %d addresses, or the nodes several ports", ephemeralPorts, out.Nodes.SessionsWorn, out.Proxy.Addresses)
	warn(out.Nodes.Count > manySeriesFrom, "one Prometheus that scrapes %d nodes wants to be sized for it, or split", out.Nodes.Count)
	warn(out.Cells > 1, "beyond what one service should be: split it into %d cells, by App ID or by a hash of the channel, each with nodes and a Redis of its own", out.Cells)
	return all
}

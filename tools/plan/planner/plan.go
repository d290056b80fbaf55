package planner

import (
	"fmt"
	"math"
	"time"

	"refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/ws/admission"
)

// Plan has the resources that a service needs. Sizes are in bytes, rates of networks in bits a second, durations in
// seconds.
type Plan struct {
	Sessions    int64    `json:"sessions"`
	HeadStart   float64  `json:"head_start_seconds"`
	Jitter      float64  `json:"jitter_seconds"` // the most
	Renewals    float64  `json:"renewals_per_second"`
	Peak        float64  `json:"renewals_per_second_after_one_minute"` // peak rate if all calls began in one minute
	Echo        float64  `json:"renewals_per_second_after_storm"`      // peak rate one token lifetime after a storm, when the tokens of all its clients are due together
	Joins       float64  `json:"joins_per_second"`
	Heartbeats  float64  `json:"heartbeats_per_second"`
	Detached    float64  `json:"detached_sessions"` // sessions whose client disconnected without leave, which are not in Sessions
	Nodes       Nodes    `json:"nodes"`
	Redis       Redis    `json:"redis"`
	Network     Network  `json:"network"`
	Proxy       Proxy    `json:"proxy"`
	Storm       Storm    `json:"storm"`
	NodeFailure Storm    `json:"node_failure"`
	Settings    Setting  `json:"settings"`
	Cells       int      `json:"cells"` // number of services, each with its own Redis, into which the load should be split
	Warnings    []string `json:"warnings"`
	// Rehearsal is nil until Rehearse is called.
	Rehearsal *Rehearsal `json:"simulation,omitempty"`
}

// Nodes says how many nodes the service needs, and what each node uses. "Cores" is the number of cores that are busy.
type Nodes struct {
	Needed       int     `json:"needed"`
	Count        int     `json:"count"` // number of nodes, including the nodes in reserve
	Bound        string  `json:"bound"` // what determines Count
	Sessions     int64   `json:"sessions_each"`
	SessionsWorn int64   `json:"sessions_each_without_reserve"` // sessions on each node when as many nodes as the reserve have failed
	Detached     float64 `json:"detached_sessions_each"`
	Memory       float64 `json:"memory_bytes_each"`
	Cores        float64 `json:"cores_busy_each"`
	AllCores     float64 `json:"cores_busy"`
	AllMemory    float64 `json:"memory_bytes"`
	Files        int64   `json:"file_descriptors_each"`
}

// Redis describes the Redis that the nodes share. Each master also needs a replica, which is not counted here.
type Redis struct {
	Masters  int     `json:"masters"`
	Memory   float64 `json:"memory_bytes"`
	Writes   float64 `json:"writes_per_second"`
	Cores    float64 `json:"cores_busy"`
	Sweeps   float64 `json:"cores_busy_by_sweeps"`
	Storm    float64 `json:"cores_busy_in_storm"`
	In       float64 `json:"bits_in_per_second"`
	Out      float64 `json:"bits_out_per_second"`
	Messages float64 `json:"cluster_messages_per_second_in_storm"`
}

// Network is the traffic with clients, with the headers of TCP, IP and TLS.
type Network struct {
	In    float64 `json:"bits_in_per_second"`
	Out   float64 `json:"bits_out_per_second"`
	Storm float64 `json:"bits_per_second_in_storm"` // in both directions together
}

// Proxy is the load of a proxy in front of the nodes.
type Proxy struct {
	Files     int64   `json:"file_descriptors"`
	Addresses int64   `json:"source_addresses"` // source addresses that the proxy needs for connections to one node
	Conntrack int64   `json:"conntrack_entries"`
	Memory    float64 `json:"conntrack_bytes"`
}

// Storm says how clients reconnect when many of them lose their connections at once.
type Storm struct {
	Clients   int64   `json:"clients"`
	Nodes     int     `json:"nodes"` // nodes that admit the clients
	Rate      float64 `json:"resumes_per_second"`
	Seconds   float64 `json:"seconds"`
	Least     float64 `json:"least_life_seconds"`       // least remaining life of tokens when a call has reconnected; negative if they have expired
	Refusals  float64 `json:"refusals_each"`            // how often a client is refused before it is admitted
	FirstWave float64 `json:"first_knock_core_seconds"` // processor time of a node for the first attempts of all clients
	Cores     float64 `json:"cores_busy_each"`
}

// Setting has the settings of the service that a plan recommends.
type Setting struct {
	JoinRate    float64 `json:"join_rate"`
	MaxSessions int64   `json:"max_sessions"`
	TokenTTL    float64 `json:"token_ttl_seconds"`
	MemoryLimit float64 `json:"gomemlimit_bytes"`
	DrainWindow float64 `json:"drain_window_seconds"`
	Heartbeat   float64 `json:"heartbeat_seconds"`    // of the input: the plan recommends no other one
	RenewBefore float64 `json:"renew_before_seconds"` // of the input, too; 0 means the default of the service
}

// planner has the intermediate results of Make.
type planner struct {
	in        Input
	headStart float64
	jitter    float64
	steady    float64 // µs of processor time that a node spends on each session in a second
	joinRate  float64
	detached  float64 // sessions whose client disconnected without leave
}

// Make computes a plan.
func Make(in Input) (Plan, error) {
	if err := in.Check(); err != nil {
		return Plan{}, err
	}
	policy := session.Policy{RenewBefore: in.RenewBefore}
	p := planner{in: in, headStart: policy.HeadStart(in.TTL).Seconds()}
	p.jitter = p.headStart / 2
	n := float64(in.Sessions)
	out := Plan{
		Sessions: in.Sessions, HeadStart: p.headStart, Jitter: p.jitter,
		Renewals: n * renewalRate(in.TTL.Seconds(), p.headStart), Joins: n / in.CallLength.Seconds(),
		Heartbeats: n / protocol.Heartbeat(in.Heartbeat, policy.HeadStart(in.TTL)).Seconds(),
		Peak:       crest(n, 60, p.jitter),
	}
	p.detached = p.unleft(in.TTL.Seconds())
	out.Detached = p.detached
	p.steady = (out.Renewals*sharedRenewalMicros*p.services() + out.Joins*sharedJoinMicros + out.Heartbeats*nodeHeartbeatMicros) / n
	p.joinRate = in.JoinRate
	if p.joinRate == 0 {
		p.joinRate = math.Max(1, math.Floor(in.NodeCores*1e6*(stormCPUShare-cpuShare)/(sharedResumeMicros+nodeRefusalMicros)))
	}
	out.Nodes = p.nodes()
	if out.Nodes.Count > maxNodes {
		return Plan{}, fmt.Errorf("this needs %d nodes, more than %d: want larger nodes (node-cores, node-memory), a higher join-rate, or fewer sessions", out.Nodes.Count, maxNodes)
	}
	if in.JoinRate == 0 {
		p.joinRate = p.gentle(out.Nodes.Count)
	}
	out.Storm = p.storm(in.StormShare*n, out.Nodes.Count)
	survivors := max(1, out.Nodes.Count-1)
	out.NodeFailure = p.storm(n/float64(out.Nodes.Count), survivors)
	out.Echo = crest(in.StormShare*n, out.Storm.Seconds, p.jitter) + (1-in.StormShare)*out.Renewals
	out.Redis = p.redis(&out)
	out.Network = p.network(&out)
	out.Proxy = p.proxy(&out)
	ttl := p.lifetime(&out)
	out.Settings = Setting{
		JoinRate: p.joinRate, MaxSessions: int64(math.Ceil((float64(out.Nodes.SessionsWorn) + p.unleft(ttl)/float64(out.Nodes.Needed)) * 1.1)),
		TokenTTL: ttl, MemoryLimit: float64(in.NodeMemory) * 0.85, DrainWindow: p.drainWindow(&out),
		Heartbeat: in.Heartbeat.Seconds(), RenewBefore: in.RenewBefore.Seconds(),
	}
	out.Cells = p.cells(&out)
	out.Warnings = p.warnings(&out)
	return out, nil
}

// unleft returns the number of sessions whose client has disconnected without leave: they wait until their tokens
// expire. It assumes a whole lifetime for each, which is right for short calls and too much for long ones.
func (p *planner) unleft(ttl float64) float64 {
	return p.in.WithoutLeave * float64(p.in.Sessions) / p.in.CallLength.Seconds() * max(ttl, resumeWindow.Seconds())
}

// renewalRate returns how many renewals one session has in a second, as the mean over the jitter: the mean of 1/(ttl −
// headStart − j) for j from 0 to half the head start, which is the time from a renewal until the old tokens expire.
// Expiries are rounded down to whole seconds, so tokens live half a second less on average.
func renewalRate(ttl, headStart float64) float64 {
	most, jitter := ttl-0.5-headStart, headStart/2
	if jitter == 0 {
		return 1 / most
	}
	return math.Log(most/(most-jitter)) / jitter
}

// crest returns the peak rate of renewals after calls have begun, or reconnected, evenly in the time `span`. Their
// first renewals are spread over the longer one of `span` and `jitter`. Four standard deviations are added for chance.
func crest(calls, span, jitter float64) float64 {
	rate := calls / math.Max(1, math.Max(span, jitter))
	return rate + 4*math.Sqrt(rate)
}

// services returns the cost of a renewal for the services of a call, relative to its cost for two services, which was
// measured.
func (p *planner) services() float64 {
	const tokenShare = 0.05
	return 1 + tokenShare*float64(len(p.in.Services)-2)
}

func (p *planner) nodes() Nodes {
	n := float64(p.in.Sessions)
	perSession := residentBytes + kernelBytes + detachedBytes*p.detached/n
	wants := []struct {
		bound string
		most  float64 // sessions that one node can have
	}{
		{"memory", memoryShare * float64(p.in.NodeMemory) / perSession},
		{"processor", cpuShare * p.in.NodeCores * 1e6 / p.steady},
		{"first attempts of a reconnect storm", firstWaveSeconds * p.in.NodeCores * 1e6 / (nodeRefusalMicros * p.in.StormShare)},
		{"length of a reconnect storm", p.joinRate * p.headStart * stormShare / p.in.StormShare},
	}
	best := wants[0]
	for _, w := range wants[1:] {
		if w.most < best.most {
			best = w
		}
	}
	needed := max(1, int(math.Ceil(n/best.most)))
	count := needed + max(1, (needed+2)/3)
	if p.in.Nodes > 0 {
		count, needed = p.in.Nodes, max(1, min(needed, p.in.Nodes-1))
	}
	each := math.Ceil(n / float64(count))
	return Nodes{
		Needed: needed, Count: count, Bound: best.bound,
		Sessions: int64(each), SessionsWorn: int64(math.Ceil(n / float64(needed))),
		Detached: p.detached / float64(count),
		Memory:   each * perSession, Cores: (each*p.steady + nodeIdleMicros) / 1e6,
		AllCores: (n*p.steady + float64(count)*nodeIdleMicros) / 1e6, AllMemory: n * perSession,
		Files: int64(math.Ceil(n/float64(needed))) + 1024,
	}
}

// gentle returns the recommended --join-rate: as many joins as the cores of a node can handle. It is lower if all nodes
// together would otherwise send Redis more than one Redis server can handle, but not so low that a storm would take too
// long.
func (p *planner) gentle(nodes int) float64 {
	easy := redisStormShare * 1e6 / redisResumeMicros
	needed := p.in.StormShare * float64(p.in.Sessions) / (p.headStart * stormShare / 2)
	return math.Max(1, math.Floor(math.Min(p.joinRate, math.Max(easy, needed)/float64(nodes))))
}

// storm computes how clients reconnect to a number of nodes at once. Each node first admits as many clients at once as
// its --join-rate allows in a second, and then that many in each second. The clients whose renewal was due when the
// storm began have the least time: their tokens expire one head start later (the time from a renewal until the old
// tokens expire).
func (p *planner) storm(clients float64, nodes int) Storm {
	rate := p.joinRate * float64(nodes)
	seconds := math.Max(client.MinBackoff.Seconds(), clients/rate-1)
	each := clients / float64(nodes)
	// A refused client gets a time for its retry within 30 s, so it waits 15 s on average. The average client waits for
	// half of the storm, so it is refused once in each 30 s of the storm.
	refusals := math.Max(1, seconds/admission.MaxDelay.Seconds())
	return Storm{
		Clients: int64(clients), Nodes: nodes, Rate: math.Min(rate, clients/seconds), Seconds: seconds, Least: p.headStart - seconds,
		Refusals: refusals, FirstWave: each * nodeRefusalMicros / 1e6,
		Cores: (p.steady*float64(p.in.Sessions)/float64(nodes) + p.joinRate*(sharedResumeMicros+refusals*nodeRefusalMicros)) / 1e6,
	}
}

// drainWindow returns a drain window in which the other nodes can admit all clients of one node. It is never shorter
// than the window in the input.
func (p *planner) drainWindow(out *Plan) float64 {
	return math.Max(p.in.DrainWindow.Seconds(), math.Ceil(float64(out.Nodes.Sessions)/(p.joinRate*float64(max(1, out.Nodes.Count-1)))))
}

// lifetime returns the recommended lifetime of tokens: the requested one, or a longer one if needed, so that the head
// start (the time from a renewal until the old tokens expire) is longer than two storms, and longer than the time
// until a client notices that the machine of its node has failed without closing connections.
func (p *planner) lifetime(out *Plan) float64 {
	policy := session.Policy{RenewBefore: p.in.RenewBefore}
	for _, minutes := range []int{0, 2, 5, 10, 20, 30, 60} {
		ttl := max(p.in.TTL, time.Duration(minutes)*time.Minute)
		headStart := policy.HeadStart(ttl).Seconds()
		if headStart >= math.Max(out.Storm.Seconds/stormShare, p.unnoticed(headStart)) {
			return ttl.Seconds()
		}
	}
	return p.in.TTL.Seconds() // no lifetime is long enough
}

// unnoticed returns the seconds until the last client notices that the machine of its node has failed without closing
// connections: one heartbeat interval, and the timeout for the answer to a heartbeat. Both depend on the head start,
// the time from a renewal until the old tokens expire.
func (p *planner) unnoticed(headStart float64) float64 {
	heartbeat := protocol.Heartbeat(p.in.Heartbeat, time.Duration(headStart*float64(time.Second)))
	return (heartbeat + client.Patience(heartbeat)).Seconds()
}

func (p *planner) redis(out *Plan) Redis {
	n := float64(p.in.Sessions)
	r := Redis{
		// A session whose client disconnects without leave is written two more times: when the client disconnects, and
		// when the session ends.
		Memory: (n + p.detached) * redisSessionBytes, Writes: out.Renewals + (2+p.in.WithoutLeave)*out.Joins,
		Sweeps: float64(out.Nodes.Count) * redisIdleMicros / 1e6,
		In:     8 * (out.Renewals*redisRenewalInBytes + out.Joins*redisResumeInBytes + float64(out.Nodes.Count)*redisIdleInBytes),
		Out:    8 * (out.Renewals*redisRenewalOutBytes + out.Joins*redisResumeOutBytes + float64(out.Nodes.Count)*redisIdleOutBytes),
	}
	r.Cores = ((out.Renewals+p.in.WithoutLeave*out.Joins)*redisRenewalMicros+out.Joins*redisJoinMicros)/1e6 + r.Sweeps
	r.Storm = r.Cores + out.Storm.Rate*redisResumeMicros/1e6
	// A Redis master should use at most 70% of 32 GB of memory, half of its core in normal operation, and most of the
	// core in a storm.
	const serverBytes = memoryShare * (32 << 30)
	r.Masters = max(1, int(math.Ceil(math.Max(r.Memory/serverBytes, math.Max(r.Cores/redisCPUShare, r.Storm/redisStormShare)))))
	if p.in.RedisMasters > 0 {
		r.Masters = p.in.RedisMasters
	}
	if r.Masters > 1 { // a cluster sends each published message to all servers, also to replicas
		r.Messages = out.Storm.Rate * float64(2*min(r.Masters, maxMasters)-1)
	}
	return r
}

// network computes the traffic with clients. A renewal is a push and its ack; a heartbeat is a ping and its pong.
func (p *planner) network(out *Plan) Network {
	const exchange = segmentBytes + ackBytes/2
	open := tlsOpenBytes/2 + openSegments*ackBytes/2
	in := out.Renewals*(renewalInBytes+exchange) + out.Heartbeats*(heartbeatInBytes+exchange) + out.Joins*(joinInBytes+exchange+open)
	tokens := float64(len(p.in.Services)) / 2
	sent := out.Renewals*(renewalOutBytes*tokens+exchange) + out.Heartbeats*(heartbeatOutBytes+exchange) + out.Joins*(joinOutBytes+exchange+open)
	resume := resumeInBytes + resumeOutBytes + 2*exchange + 2*open
	return Network{In: 8 * in, Out: 8 * sent, Storm: 8 * (in + sent + out.Storm.Rate*resume)}
}

func (p *planner) proxy(out *Plan) Proxy {
	return Proxy{
		Files: 2 * p.in.Sessions, Conntrack: 2 * p.in.Sessions, Memory: 2 * float64(p.in.Sessions) * conntrackBytes,
		Addresses: int64(math.Ceil(float64(out.Nodes.SessionsWorn) / ephemeralPorts)),
	}
}

// A service beyond these limits should be split into cells; see docs/operate/scaling.md.
const (
	cellNodes   = 300
	cellMasters = maxMasters / 2
	cellRate    = 50_000 // resumes in a second through one Redis
)

// cells returns the number of services, each with its own Redis, that the load needs.
func (p *planner) cells(out *Plan) int {
	return max(
		1, ceil(float64(out.Nodes.Count)/cellNodes), ceil(float64(out.Redis.Masters)/cellMasters), ceil(out.Storm.Rate/cellRate),
	)
}

func ceil(x float64) int { return int(math.Ceil(x)) }

func span(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(100 * time.Millisecond)
}

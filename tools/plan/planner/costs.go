package planner

import "time"

// These are unit costs, measured on two cores of an Intel Xeon with Go 1.26 and Redis 7.0. Processor times include the
// kernel's part, with connections over loopback. Each group names the command that measures it: run it on your own
// machine before you order hardware. A comment such as "cpu-µs/renewal" is the name of the figure in the output of that
// command.

// These costs are measured by:
//
//	go -C bench test -run '^$' -bench 'Peers/1/refresher$' -benchtime 1x
//
// The costs of connections and refusals are measured on a busy node, as in a reconnect
// storm (the rows "busy"). The costs of renewals and heartbeats include waking up an idle node for each of them.
const (
	nodeJoinMicros      = 175.0 // a join on a busy node: a connection with its first answer
	nodeResumeMicros    = 263.0 // a resume on a busy node
	nodeRefusalMicros   = 109.0 // refusal, busy
	nodeRenewalMicros   = 210.0 // cpu-µs/renewal
	nodeHeartbeatMicros = 41.0  // cpu-µs/heartbeat

	// residentBytes is the resident memory for each call, including garbage not collected yet;
	// 6,555 bytes of it are heap and stacks in use (make bench-peers).
	residentBytes = 10_600.0 // rss-B/call
	kernelBytes   = 3_830.0  // kernel-B/call: memory in the kernel for one end of a connection

	// detachedBytes is the memory for each session whose client has disconnected without leave:
	// 1,326 bytes are heap in use
	// (go test -run '^$' -bench Detached -benchtime 1x ./internal/scheduler),
	// and the rest is garbage in the same proportion as for a call.
	detachedBytes = 2_440.0

	renewalInBytes    = 28.0    // out-B/renewal: what the clients send, the node receives
	renewalOutBytes   = 572.0   // in-B/renewal
	heartbeatInBytes  = 21.0    // out-B/heartbeat
	heartbeatOutBytes = 37.0    // in-B/heartbeat
	joinInBytes       = 327.0   // out-B/join, including the handshake
	joinOutBytes      = 1_037.0 // in-B/join
	resumeInBytes     = 597.0   // out-B/resume
	resumeOutBytes    = 1_046.0 // in-B/resume
)

// These costs of a node with Redis are measured by:
//
//	go -C bench test -run '^$' -bench 'Peers/1/refresher-redis' -benchtime 1x
const (
	sharedJoinMicros    = 214.0    // a join on a busy node: a connection with its first answer
	sharedResumeMicros  = 296.0    // a resume on a busy node
	sharedRenewalMicros = 190.0    // cpu-µs/renewal
	nodeIdleMicros      = 45_400.0 // cpu-µs/s, with 5,000 silent calls

	// These costs vary, since in a reconnect storm a node accepts some clients by their resume keys alone, and writes
	// their sessions to Redis later. The constants are the higher values of several runs.
	redisJoinMicros   = 63.7  // redis-µs/join
	redisResumeMicros = 75.2  // redis-µs/resume
	redisIdleMicros   = 590.0 // redis-µs/s: the node renews its lease, and reads the shards and the revocations

	redisRenewalInBytes  = 228.0   // redis-in-B/renewal
	redisRenewalOutBytes = 6.0     // redis-out-B/renewal
	redisResumeInBytes   = 461.0   // redis-in-B/resume, also used for a join, which needs no more
	redisResumeOutBytes  = 116.0   // redis-out-B/resume
	redisIdleInBytes     = 5_220.0 // redis-in-B/s
	redisIdleOutBytes    = 1_970.0 // redis-out-B/s
)

// These costs in Redis are measured by:
//
//	go test -run '^$' -bench Renewal -benchtime 200000x ./internal/redis
const (
	// redisRenewalMicros is the cost with a million sessions on one server, saved in batches of
	// 256. With ten thousand sessions it is 10.7.
	redisRenewalMicros = 18.9  // redis-µs/renewal
	redisSessionBytes  = 400.0 // B/session
)

// These sizes are not measured but follow from the standards. Each message is one TCP segment, with timestamps, over
// IPv4, Ethernet and TLS. A separate segment acknowledges every second one.
const (
	segmentBytes   = 20 + 32 + 18 + 22.0 // headers of IPv4, TCP, Ethernet and a TLS record
	ackBytes       = 20 + 32 + 18.0
	tlsOpenBytes   = 5_000.0 // bytes of a full TLS 1.3 handshake with a chain of two certificates, in both directions
	openSegments   = 8       // segments that open and close a TCP connection
	conntrackBytes = 320.0   // kernel memory for a connection that the firewall tracks
)

// These are defaults of operating systems and of flags.
const (
	ephemeralPorts = 28_232 // number of ports that Linux has for connections from one source address to one target

	defaultHeartbeat = 50 * time.Second
	resumeWindow     = 2 * time.Minute
)

// A plan lets the service use only these shares of the available resources.
const (
	memoryShare     = 0.70 // share of a node's memory
	cpuShare        = 0.50 // share of a node's cores in normal operation
	stormCPUShare   = 0.80 // share of a node's cores in a reconnect storm
	redisCPUShare   = 0.50 // share of the one core that a Redis server uses in normal operation
	redisStormShare = 0.80 // share of the one core that a Redis server uses in a reconnect storm
	// firstWaveSeconds is how long the first attempts of all clients may keep a node's cores busy: half of the time
	// that a client waits for an answer.
	firstWaveSeconds = 5.0
	// stormShare is the part of the head start (the time from a renewal until the old tokens expire) within which all
	// clients should have reconnected after a storm.
	stormShare = 0.5
)

package listen

import (
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/logging"
)

// A process that has used up its file descriptors can neither answer a probe, nor connect
// to Redis, nor read a file. So a node keeps some back from its clients: an eighth of what
// it may have, within these bounds. Half of the smallest reserve is for the connections
// to Redis and to back ends, and for files; the operations port may take the rest.
const (
	minReserve = 32
	maxReserve = 1024
)

// reserved is how many of limit descriptors are kept back from clients.
func reserved(limit uint64) uint64 {
	return min(max(limit/8, minReserve), maxReserve, limit/2)
}

// Descriptors keeps file descriptors back. It is safe for concurrent use.
type Descriptors struct {
	limit   uint64 // of the process
	logger  *slog.Logger
	lines   logging.Throttle // of refusals
	refused prometheus.Counter
}

// NewDescriptors makes a Descriptors for the descriptors that this process may have.
func NewDescriptors(logger *slog.Logger, r prometheus.Registerer) *Descriptors {
	d := &Descriptors{
		limit: descriptorLimit(), logger: logger,
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "refresher_connections_refused_total",
			Help: "Connections that were closed at once, since the file descriptors that are left are kept back for probes, Redis and files.",
		}),
	}
	r.MustRegister(d.refused)
	return d
}

// ForClients returns a listener that leaves the whole reserve alone.
func (d *Descriptors) ForClients(l net.Listener) net.Listener {
	return &sparingListener{Listener: l, below: d.limit - reserved(d.limit), full: d.refuse}
}

// ForProbes returns a listener that leaves half of the reserve alone.
func (d *Descriptors) ForProbes(l net.Listener) net.Listener {
	return &sparingListener{Listener: l, below: d.limit - reserved(d.limit)/2, full: d.refuse}
}

// refuse counts and logs a connection that was closed.
func (d *Descriptors) refuse() {
	d.refused.Inc()
	if skipped, ok := d.lines.Pass(10 * time.Second); ok {
		d.logger.Warn("out of file descriptors for clients; connections are closed until others end", "limit", d.limit, "unlogged", skipped)
	}
}

// sparingListener closes a connection whose descriptor is not below a number. The system
// gives a new descriptor the lowest number that is free. So a connection gets a number from
// the reserve only when all lower ones are in use, and no connections need to be counted.
type sparingListener struct {
	net.Listener
	below uint64
	full  func() // called for each connection that was closed
}

// Accept implements net.Listener.
func (l *sparingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || descriptorOf(conn) < l.below {
			return conn, err
		}
		_ = conn.Close() // its client notices
		l.full()
	}
}

// descriptorOf is the number of a connection's file descriptor, or 0 if it has none.
func descriptorOf(conn net.Conn) (number uint64) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	if err := raw.Control(func(fd uintptr) { number = uint64(fd) }); err != nil {
		return 0
	}
	return number
}

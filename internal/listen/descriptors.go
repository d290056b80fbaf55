package listen

import (
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/logging"
)

// A node reserves file descriptors that clients cannot use: an eighth of the process's limit, within these
// bounds. A process without free descriptors can neither answer a probe, nor connect to
// Redis, nor read a file. The operations port may use half of the reserve; the other half is for files and for
// connections to Redis and to back ends.
const (
	minReserve = 32
	maxReserve = 1024
)

// reserved returns how many of a process's `limit` file descriptors are kept for other uses than client connections.
func reserved(limit uint64) uint64 {
	return min(max(limit/8, minReserve), maxReserve, limit/2)
}

// Descriptors reserves file descriptors that clients cannot use. It is safe for concurrent use.
type Descriptors struct {
	limit   uint64 // how many descriptors the process may have
	logger  *slog.Logger
	lines   logging.Throttle // limits log lines about refused connections
	refused prometheus.Counter
}

// NewDescriptors returns a Descriptors for this process's limit.
func NewDescriptors(logger *slog.Logger, r prometheus.Registerer) *Descriptors {
	d := &Descriptors{
		limit: descriptorLimit(), logger: logger,
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "refresher_connections_refused_total",
			Help: "Connections that were closed at once, since the remaining file descriptors are reserved for probes, Redis and files.",
		}),
	}
	r.MustRegister(d.refused)
	return d
}

// ForClients returns a listener whose connections never use the reserve.
func (d *Descriptors) ForClients(l net.Listener) net.Listener {
	return &sparingListener{Listener: l, below: d.limit - reserved(d.limit), full: d.refuse}
}

// ForProbes returns a listener whose connections may use half of the reserve.
func (d *Descriptors) ForProbes(l net.Listener) net.Listener {
	return &sparingListener{Listener: l, below: d.limit - reserved(d.limit)/2, full: d.refuse}
}

// refuse counts and logs a connection that was closed to protect the reserve.
func (d *Descriptors) refuse() {
	d.refused.Inc()
	if skipped, ok := d.lines.Pass(10 * time.Second); ok {
		d.logger.Warn("out of file descriptors for clients; new connections are closed until others end", "limit", d.limit, "unlogged", skipped)
	}
}

// sparingListener closes each accepted connection whose descriptor has the number `below` or a higher number. The
// operating system gives a new descriptor the lowest free number, so a high number means that all lower numbers are in
// use. The listener therefore need not count connections.
type sparingListener struct {
	net.Listener
	below uint64
	full  func() // called for each connection that was closed
}

func (l *sparingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || descriptorOf(conn) < l.below {
			return conn, err
		}
		_ = conn.Close()
		l.full()
	}
}

// descriptorOf returns the number of a connection's file descriptor, or 0 if it has none.
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

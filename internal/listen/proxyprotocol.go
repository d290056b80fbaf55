package listen

import (
	"log/slog"
	"net"
	"time"

	"github.com/pires/go-proxyproto"

	"refresher/internal/logging"
)

// ProxyProtocol returns a listener that reads the PROXY header (version 1 or 2) at the beginning of connections from
// trusted proxies. The remote address of such a connection is the address in its header. Connections from other peers
// are passed on unchanged; if such a peer sends a PROXY header, the server answers it as malformed HTTP.
func ProxyProtocol(l net.Listener, trusts func(net.Addr) bool, logger *slog.Logger) net.Listener {
	return &proxyListener{Listener: l, trusts: trusts, logger: logger}
}

type proxyListener struct {
	net.Listener

	trusts func(net.Addr) bool
	logger *slog.Logger
	lines  logging.Throttle // limits log lines about connections without a valid header
}

// Accept does not wait for the PROXY header: the connection's own goroutine reads it.
func (l *proxyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || !l.trusts(c.RemoteAddr()) {
		return c, err
	}
	socket := &heardConn{Conn: c}
	header := proxyproto.NewConn(socket, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(readHeaderTimeout))
	return &proxiedConn{Conn: header, socket: socket, listener: l}, nil
}

// headerless logs that a trusted proxy sent no valid PROXY header.
func (l *proxyListener) headerless(proxy net.Addr, err error) {
	if skipped, ok := l.lines.Pass(time.Minute); ok {
		l.logger.Warn("no valid PROXY header from a trusted proxy; the connection is closed", "remote", proxy.String(), "error", err, "unlogged", skipped)
	}
}

// heardConn records whether its peer has sent anything. A load balancer that checks the port by connecting to
// it sends nothing, and is not logged.
type heardConn struct {
	net.Conn

	heard bool // set and read only by the goroutine that reads the connection
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.heard = c.heard || n > 0
	return n, err
}

// proxiedConn is a connection from a trusted proxy. It begins with a PROXY header.
type proxiedConn struct {
	*proxyproto.Conn

	socket   *heardConn
	listener *proxyListener
}

func (c *proxiedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.socket.heard && c.ProxyHeader() == nil {
		c.listener.headerless(c.socket.RemoteAddr(), err)
	}
	return n, err
}

// NetConn returns the connection to the proxy, as tls.Conn.NetConn returns the connection below TLS. Package ws calls
// both methods to find the TCP socket.
func (c *proxiedConn) NetConn() net.Conn { return c.socket.Conn }

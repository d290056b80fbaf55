package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"
)

// serverName is the URL parameter for the host name that the certificate of every server must
// contain. The default is the name or address that is dialled.
const serverName = "server_name"

// newSecurity returns the TLS configuration that a URL asks for, or nil for none. It
// removes the parameter server_name from the URL, since go-redis does not know it.
func newSecurity(c *Config, u *url.URL) (*tls.Config, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errNotURL
	}
	name := query.Get(serverName)
	if query.Has(serverName) {
		query.Del(serverName)
		u.RawQuery = query.Encode()
	}
	if u.Scheme != "rediss" {
		for _, s := range []struct{ setting, value string }{
			{"redis-ca-file", c.CAFile}, {"redis-cert-file", c.CertFile}, {"redis-key-file", c.KeyFile}, {"redis-url: " + serverName, name},
		} {
			if s.value != "" {
				return nil, errors.New(s.setting + ": set, but redis-url does not ask for TLS; want rediss://")
			}
		}
		return nil, nil
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, errors.New("redis-cert-file, redis-key-file: want both or none")
	}
	roots, err := rootsFrom(c.CAFile)
	if err != nil {
		return nil, err
	}
	// Without a ServerName, the name or address that is dialled must be in the server's
	// certificate, even if Sentinel or Cluster reported that address.
	secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name}
	if c.CertFile != "" {
		pair := &keyPair{certFile: c.CertFile, keyFile: c.KeyFile, logger: c.Logger}
		if err := pair.read(); err != nil {
			return nil, err
		}
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.newest(), nil }
	}
	return secure, nil
}

// adopt copies InsecureSkipVerify into the configuration `secure` from the configuration
// `asked`, which go-redis derived from the URL.
func adopt(secure, asked *tls.Config) *tls.Config {
	if secure != nil && asked != nil {
		secure.InsecureSkipVerify = asked.InsecureSkipVerify
	}
	return secure
}

// rootsFrom reads the authorities' certificates from a file. If `file` is empty, it returns
// nil, which means the system's authorities.
func rootsFrom(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("redis-ca-file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("redis-ca-file: %s holds no certificate in PEM", file)
	}
	return roots, nil
}

// keyPair is the client certificate for TLS, with its key. The files are read for each new
// connection, so that a renewed certificate is used without a restart.
type keyPair struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu     sync.Mutex
	last   *tls.Certificate // guarded by mu; the last pair that could be read
	failed bool             // guarded by mu; whether the last read failed
}

func (p *keyPair) read() error {
	pair, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return fmt.Errorf("redis-cert-file, redis-key-file: certificate %s and key %s: %w", p.certFile, p.keyFile, err)
	}
	p.last = &pair
	return nil
}

// newest returns the certificate in the files. If they cannot be read, it returns the last
// certificate that could be read.
func (p *keyPair) newest() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.read()
	if err != nil && !p.failed {
		p.logger.Warn("the client certificate for Redis cannot be read; the last one stays in use", "error", err)
	}
	p.failed = err != nil
	return p.last
}

// dialer returns a function that opens connections to servers. The connections use TLS unless
// `secure` is nil.
func dialer(secure *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: dialTimeout}
	if secure == nil {
		return plain.DialContext
	}
	overTLS := &tls.Dialer{NetDialer: plain, Config: secure}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := overTLS.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return newIdleConn(conn), nil
	}
}

// idleConn is a TLS connection whose socket the pool can check before each reuse. So the pool
// notices, before it sends a command, that the server or a load balancer has closed the
// connection. Without idleConn, go-redis checks only connections without TLS.
type idleConn struct {
	net.Conn
	socket syscall.Conn
}

func newIdleConn(conn net.Conn) net.Conn {
	secured, _ := conn.(*tls.Conn)
	if secured == nil {
		return conn
	}
	socket, _ := secured.NetConn().(syscall.Conn)
	if socket == nil {
		return conn
	}
	return &idleConn{conn, socket}
}

func (c *idleConn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// lookTimeout bounds how long the pool's check may read from an idle connection.
const lookTimeout = 100 * time.Millisecond

// SetDeadline limits the time of the pool's check to lookTimeout, since the check sets no
// deadline. If the socket has bytes, the check reads from the connection; if these bytes
// belong to TLS and not to a reply, that read would never end.
func (c *idleConn) SetDeadline(at time.Time) error {
	if at.IsZero() {
		at = time.Now().Add(lookTimeout)
	}
	return c.Conn.SetDeadline(at)
}

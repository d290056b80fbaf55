package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// These are limits on the size of a client's request and on the time it may take.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	maxHeaderBytes    = 16 << 10
	// shutdownTimeout limits how long Shutdown waits for requests in progress.
	shutdownTimeout = 10 * time.Second
)

// Config configures a Server.
type Config struct {
	Handler http.Handler
	TLS     *tls.Config // nil means no encryption
	// WriteTimeout limits the time for an answer. IdleTimeout limits the time between two requests on one connection.
	// WebSockets have their own limits.
	WriteTimeout, IdleTimeout time.Duration
	Logger                    *slog.Logger
}

// Server is an HTTP server on one port.
type Server struct {
	http     *http.Server
	listener net.Listener
	logger   *slog.Logger
}

// NewServer returns a Server for l. It accepts connections once Serve is called.
func NewServer(l net.Listener, c Config) *Server {
	// No HTTP/2: a WebSocket needs its own connection, and over one HTTP/2 connection a client can have any
	// number of requests in progress.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &Server{listener: l, logger: c.Logger, http: &http.Server{
		Handler: c.Handler, TLSConfig: c.TLS, Protocols: protocols,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, MaxHeaderBytes: maxHeaderBytes,
		WriteTimeout: c.WriteTimeout, IdleTimeout: c.IdleTimeout,
		ErrorLog: slog.NewLogLogger(&serverLog{Handler: c.Logger.Handler()}, slog.LevelWarn),
	}}
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve serves until Shutdown is called, and then returns nil.
func (s *Server) Serve() error {
	serve := s.http.Serve
	if s.http.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops accepting connections, waits up to shutdownTimeout for the requests in progress, and closes the
// remaining connections.
func (s *Server) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.logger.Warn("shutdown timed out, unanswered requests were aborted", "error", err)
		_ = s.http.Close() // Close fails only if closing a listener fails
	}
}

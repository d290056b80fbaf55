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

// Limits on what an HTTP client may send, and how long it may take for it.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	maxHeaderBytes    = 16 << 10
	// shutdownTimeout bounds the wait for the last answers.
	shutdownTimeout = 10 * time.Second
)

// Config is what a Server needs.
type Config struct {
	Handler http.Handler
	TLS     *tls.Config // nil: in the clear
	// WriteTimeout and IdleTimeout bound the time for an answer, and between two requests
	// of one connection. A WebSocket has limits of its own.
	WriteTimeout, IdleTimeout time.Duration
	Logger                    *slog.Logger
}

// Server is an HTTP server on one port.
type Server struct {
	http     *http.Server
	listener net.Listener
	logger   *slog.Logger
}

// NewServer makes a Server. It serves once Serve is called.
func NewServer(l net.Listener, c Config) *Server {
	// No HTTP/2: a WebSocket needs a connection of its own, and an HTTP/2 connection has as
	// many requests under way as its client likes.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &Server{listener: l, logger: c.Logger, http: &http.Server{
		Handler: c.Handler, TLSConfig: c.TLS, Protocols: protocols,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, MaxHeaderBytes: maxHeaderBytes,
		WriteTimeout: c.WriteTimeout, IdleTimeout: c.IdleTimeout,
		ErrorLog: slog.NewLogLogger(&serverLog{Handler: c.Logger.Handler()}, slog.LevelWarn),
	}}
}

// Addr returns the address of the port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve serves until Shutdown. It returns nil then.
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

// Shutdown stops serving. It waits for the requests that are under way, up to shutdownTimeout.
func (s *Server) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		s.logger.Warn("requests were cut off", "error", err)
		_ = s.http.Close() // it fails only if a listener does
	}
}

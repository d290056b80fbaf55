package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/api"
	"refresher/internal/build"
	"refresher/internal/events"
	"refresher/internal/files"
	"refresher/internal/origin"
	"refresher/internal/panics"
	"refresher/internal/project"
	"refresher/internal/revocation"
	"refresher/internal/rotation"
	"refresher/internal/scheduler"
	"refresher/internal/session"
	"refresher/internal/tracing"
	"refresher/internal/ws"
)

// Limits on what an HTTP client may take its time for, and on its headers.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 30 * time.Second
	opsWriteTimeout   = 2 * time.Minute // profiles take their time
	opsIdleTimeout    = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	// informTimeout is how long a node that starts waits for the store before
	// it answers that it cannot take anybody yet.
	informTimeout = 3 * time.Second
	// stopTimeout bounds what is still to be done once the drain window is
	// over.
	stopTimeout = 10 * time.Second
	// traceTimeout bounds the sending of the last traces.
	traceTimeout = 2 * time.Second
)

// App is the service on one node.
type App struct {
	config      Config
	node        string
	apps        []string
	logger      *slog.Logger
	scheduler   *scheduler.Scheduler
	hub         *ws.Hub
	events      *events.Sender // nil: nobody is told
	store       Store
	gate        *gate
	revocations *revocation.Set
	rotation    *rotation.Tracker
	files       *files.Watcher
	public      *http.Server
	ops         *http.Server
	health      *health
	traces      *tracing.Provider // nil: nothing is traced

	publicListener, opsListener net.Listener
}

// New makes the service and opens its ports; nothing is served until Run. On
// an error nothing is left open.
func New(c Config, logger *slog.Logger) (*App, error) {
	return NewWith(c, logger, Outside{})
}

// Outside is how a node reaches the world. Tests, by package apptest, give a node a
// network and a store of their own; nil fields mean the real ones.
type Outside struct {
	Listen func(network, address string) (net.Listener, error)
	Store  func(Config, *slog.Logger, prometheus.Registerer) (Store, error)
}

// NewWith is New with another outside.
func NewWith(c Config, logger *slog.Logger, world Outside) (made *App, err error) {
	if world.Listen == nil {
		world.Listen = net.Listen
	}
	if world.Store == nil {
		world.Store = openStore
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.BasePath = strings.TrimSuffix(c.BasePath, "/")
	registry := newRegistry()
	node := nodeName()
	traces, err := tracing.New(context.Background(), tracing.Config{
		Version: build.Info().Version, Node: node, Logger: logger.With("component", "tracing"),
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if made == nil {
			_ = traces.Close(context.Background()) // of nothing yet
		}
	}()
	projects, err := project.New(project.Config{Settings: c.Settings, Spread: c.Policy.CertificateSpread, Logger: logger, Registerer: registry})
	if err != nil {
		return nil, err
	}
	watcher, err := files.New(files.Config{Logger: logger.With("component", "files"), Registerer: registry})
	if err != nil {
		return nil, err
	}
	reports, err := panics.NewReporter(logger, registry)
	if err != nil {
		return nil, err
	}
	gate, err := newGate(c, projects, reports, logger, registry)
	if err != nil {
		return nil, err
	}
	origins, err := origin.New(origin.Config{Allowed: c.AllowedOrigins, Logger: logger.With("component", "origin"), Registerer: registry})
	if err != nil {
		return nil, err
	}
	sender, err := newSender(c, reports, logger, registry)
	if err != nil {
		return nil, err
	}
	shared, err := world.Store(c, logger, registry)
	if err != nil {
		return nil, err
	}
	revocations, err := revocation.New(revocation.Config{
		Store: shared, Nodes: shared, Node: node, Projects: len(c.Projects),
		Logger: logger.With("component", "revocation"), Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	gate.revocations = revocations
	schedule := scheduler.Config{
		Serves: projects.Serves, Minter: projects, Sealer: projects.Sealer(), Policy: c.Policy, MaxSessions: c.MaxSessions,
		Store: shared, Records: shared, Node: node, Announce: announce(sender), Revocations: revocations, Certificate: projects.Certificate,
		Tracer: traces.Tracer(), Panics: reports, Logger: logger.With("component", "scheduler"), Registerer: registry,
	}
	if gate.asker != nil {
		schedule.Consent, schedule.Policy.AskAhead, schedule.Policy.AskGrace = gate.consent, askAhead, c.AuthorizeGrace
	}
	sched, err := scheduler.New(schedule)
	if err != nil {
		return nil, err
	}
	tracker, err := rotation.New(rotation.Config{
		Store: shared, Node: node, Projects: projects.Fingerprints, MaxTTL: c.Policy.MaxTTL,
		Logger: logger.With("component", "rotation"), Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	err = projects.Follow(watcher, gate.update, func(app string, now session.Fingerprint) {
		sched.CertificateChanged(app)
		tracker.Changed()
		if c.CertificateChanged != nil {
			c.CertificateChanged(app, now.String())
		}
	})
	if err != nil {
		return nil, err
	}
	revocations.SetSessions(sched.Revoke)
	hub, err := ws.New(ws.Config{
		Sessions: sched, Gate: gate, Heartbeat: c.Heartbeat, JoinRate: c.JoinRate, Origins: origins,
		Panics: reports, Logger: logger.With("component", "ws"), Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	health := &health{
		degraded: sched.Degraded, informed: revocations.Loaded, works: sched.Health, still: sched.Still,
		hasKeys: gate.hasKeys, keysBy: time.Now().Add(keysPatience),
	}
	metrics := newMetrics(registry)
	var page http.Handler
	if c.Page != nil {
		page = c.Page(metrics)
	}
	handler, err := api.New(api.Config{
		Minter: projects, Renewer: sched, Gate: gate, Sessions: shared, Wishes: sched, Revocations: revocations, Cursors: projects.Sealer(), Policy: c.Policy,
		Certificates: tracker.Report, Inspect: projects.Inspect, Origins: origins, LocalOnly: c.Auth == "none" && !c.Insecure,
		Logger: logger.With("component", "api"), Registerer: registry, WebSocket: hub, Page: page,
		Ready: health.takesCalls, BasePath: c.BasePath, CredentialInPath: c.CredentialInPath,
	})
	if err != nil {
		return nil, err
	}
	a := &App{
		config: c, node: node, apps: projects.Apps(), logger: logger, scheduler: sched, hub: hub, events: sender, store: shared,
		gate: gate, revocations: revocations, rotation: tracker, files: watcher, traces: traces, health: health,
	}
	registerNode(registry, c, a.health)
	ops := newOps(metrics, health)
	if local, err := isLoopback(c.OpsListen); err != nil {
		return nil, fmt.Errorf("ops-listen: %w", err)
	} else if local {
		ops = onlyLocalhost(ops)
	}
	a.public = newServer(reports.Handler(handler), logger.With("component", "http"))
	a.public.WriteTimeout, a.public.IdleTimeout = writeTimeout, c.IdleTimeout
	a.ops = newServer(reports.Handler(ops), logger.With("component", "ops"))
	a.ops.WriteTimeout, a.ops.IdleTimeout = opsWriteTimeout, opsIdleTimeout
	if c.TLSCertFile != "" {
		if a.public.TLSConfig, err = files.TLS(watcher, c.TLSCertFile, c.TLSKeyFile); err != nil {
			return nil, fmt.Errorf("tls-cert-file, tls-key-file: %w", err)
		}
	}
	if a.publicListener, err = listenPublic(&c, world.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if a.opsListener, err = world.Listen("tcp", c.OpsListen); err != nil {
		return nil, errors.Join(fmt.Errorf("ops-listen: %w", err), a.publicListener.Close())
	}
	spare := newDescriptors(descriptorLimit(), logger, registry)
	a.publicListener, a.opsListener = spare.forClients(a.publicListener), spare.forProbes(a.opsListener)
	if c.ProxyProtocol {
		a.publicListener = &proxyListener{Listener: a.publicListener, proxies: gate.proxies, logger: logger.With("component", "http")}
	}
	return a, nil
}

// Node is the node's name, which no other has or had.
func (a *App) Node() string { return a.node }

// Addr is the address of the public port.
func (a *App) Addr() net.Addr { return a.publicListener.Addr() }

// OpsAddr is the address of the operations port.
func (a *App) OpsAddr() net.Addr { return a.opsListener.Addr() }

// Run serves until ctx is done, then drains: the node reports itself not
// ready, clients are told when to connect again, spread over the drain window,
// and then everything stops. A second signal, which cancels force, cuts the
// drain short. Run returns nil after a drain, and only when all that it started
// is gone.
func (a *App) Run(ctx, force context.Context, reloads <-chan os.Signal) error {
	var parts sync.WaitGroup
	failed := make(chan error, 2)
	serve := func(name string, s *http.Server, l net.Listener) {
		parts.Go(func() {
			serve := s.Serve
			if s.TLSConfig != nil {
				serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
			}
			if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", name, err)
			}
		})
	}
	keep, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var sending sync.WaitGroup
	send, stopSending := context.WithCancel(keep)
	defer stopSending()
	if a.events != nil {
		sending.Go(func() { _ = a.events.Run(send) }) // returns nil
	}
	a.gate.run(keep, &parts)
	parts.Go(func() { _ = a.files.Run(keep) }) // returns nil
	parts.Go(func() { a.reload(keep, reloads) })
	parts.Go(func() { _ = a.revocations.Run(keep) }) // returns nil
	parts.Go(func() { _ = a.scheduler.Run(keep) })   // returns nil
	parts.Go(func() { a.rotation.Run(keep) })
	parts.Go(func() { _ = a.hub.Run(keep) }) // returns nil
	serve("ops port", a.ops, a.opsListener)
	select { // the first client is to find a node that knows what was revoked
	case <-a.revocations.Known():
	case <-ctx.Done():
	case <-time.After(informTimeout):
		a.logger.Warn("what was revoked cannot be read from the store; nobody is taken until it is")
	}
	<-a.scheduler.Begun() // or a balancer's first check would find a node that is not ready
	serve("public port", a.public, a.publicListener)
	a.logger.Info("serving", "address", a.Addr().String(), "ops_address", a.OpsAddr().String(), "app_ids", a.apps,
		"node", a.node, "shared_store", a.config.RedisURL != "")
	a.notifySystemd(daemon.SdNotifyReady)

	var err error
	select {
	case <-ctx.Done():
		a.drain(force)
	case err = <-failed:
		a.health.draining.Store(true)
	}

	// What was started last stops first.
	a.shutdown(a.public)
	a.hub.Close()
	stopSending()
	sending.Wait() // what was delivered is to be in the store's last records
	stopKeeping()
	a.shutdown(a.ops)
	parts.Wait()
	if c, ok := a.store.(io.Closer); ok {
		_ = c.Close() // connections that nobody uses any more
	}
	a.endTraces()
	a.logger.Info("stopped")
	return err
}

// endTraces sends the traces that are left.
func (a *App) endTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), traceTimeout)
	defer cancel()
	if err := a.traces.Close(ctx); err != nil {
		a.logger.Warn("the last traces are lost", "error", err)
	}
}

// reload reads the files again that the settings name, whenever it is told to.
func (a *App) reload(ctx context.Context, reloads <-chan os.Signal) {
	for {
		select {
		case <-reloads:
			a.logger.Info("reading the files again")
			a.files.Reload()
		case <-ctx.Done():
			return
		}
	}
}

// shutdown lets a server finish the requests that it has, for a while.
func (a *App) shutdown(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		a.logger.Warn("requests were cut off", "error", err)
		_ = s.Close() // there is nothing more to be done
	}
}

// drain sends the clients away.
func (a *App) drain(force context.Context) {
	a.health.draining.Store(true)
	a.notifySystemd(daemon.SdNotifyStopping)
	a.logger.Info("draining", "window_seconds", a.config.DrainWindow.Seconds())
	// The clients' last answers may take a little longer than the window.
	ctx, cancel := context.WithTimeout(force, a.config.DrainWindow+stopTimeout)
	defer cancel()
	a.hub.Drain(ctx, a.config.DrainWindow)
}

// newServer is an HTTP server with limits on what a client sends. The caller sets
// those on answers and on idle connections. A WebSocket leaves all of them behind
// with its upgrade, and has its own.
func newServer(h http.Handler, logger *slog.Logger) *http.Server {
	// No HTTP/2: WebSockets need a connection of their own, and one of HTTP/2 has as
	// many requests under way as its client likes.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler: h, Protocols: protocols, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(&serverLog{Handler: logger.Handler()}, slog.LevelWarn),
	}
}

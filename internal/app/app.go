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
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access"
	"refresher/internal/api"
	"refresher/internal/build"
	"refresher/internal/cluster"
	"refresher/internal/files"
	"refresher/internal/hook"
	"refresher/internal/listen"
	"refresher/internal/ops"
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

const (
	writeTimeout    = 30 * time.Second
	opsWriteTimeout = 2 * time.Minute // must be longer than any CPU profile, since the node sends a profile only at the profile's end
	opsIdleTimeout  = 2 * time.Minute
	// loadTimeout is how long a starting node waits for the revocations before it opens the public port. If the node
	// has not read them within this time, it opens the port anyway, but refuses clients until it has read them.
	loadTimeout = 3 * time.Second
	// drainGrace is how long after the drain window the node still waits for clients that have not disconnected.
	drainGrace = 10 * time.Second
	// traceTimeout is how long the node may take to send its last traces when it stops.
	traceTimeout = 2 * time.Second
)

// App is one node of the service.
type App struct {
	config      Config
	node        string
	logger      *slog.Logger
	traces      *tracing.Provider // nil if tracing is off
	files       *files.Watcher
	projects    *project.Set
	events      *hook.Events   // nil if events are off
	approval    *hook.Approval // nil if approval is off
	store       Store
	revocations *revocation.Set
	access      *access.Access
	cluster     *cluster.Cluster
	scheduler   *scheduler.Scheduler
	rotation    *rotation.Tracker
	hub         *ws.Hub
	health      *ops.Health
	public      *listen.Server
	ops         *listen.Server
}

// New makes a node and opens its ports. It serves no request before Run. On an error it leaves
// nothing open.
func New(c Config, logger *slog.Logger) (*App, error) {
	return NewWith(c, logger, Outside{})
}

// Outside has the network, the store and the metrics registry of a node, which package apptest replaces in tests. A nil
// field means the real network, store or registry.
type Outside struct {
	Listen   func(network, address string) (net.Listener, error)
	Store    Store
	Registry *prometheus.Registry
}

// NewWith does the same as New, but can replace the network, the store and the metrics registry. On an error `made` is
// nil.
func NewWith(c Config, logger *slog.Logger, outside Outside) (made *App, err error) {
	if outside.Listen == nil {
		outside.Listen = listen.Listen
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	local, err := listen.IsLocal(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	registry := outside.Registry
	if registry == nil {
		registry = ops.NewRegistry()
	}
	node := nodeName()
	traces, err := tracing.New(context.Background(), tracing.Config{
		Version: build.Info().Version, Node: node, Logger: logger.With("component", "tracing"),
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if made == nil {
			_ = traces.Close(context.Background()) // no trace was recorded yet, so no trace is lost if this fails
		}
	}()
	projects, err := project.New(project.Config{Settings: c.Settings, Spread: c.Policy.CertificateSpread, Logger: logger, Registerer: registry})
	if err != nil {
		return nil, err
	}
	watcher := files.New(logger.With("component", "files"), registry)
	reports := panics.NewReporter(logger, registry)
	origins, err := origin.New(origin.Config{Allowed: c.AllowedOrigins, LocalOnly: c.LocalOnly(), Logger: logger.With("component", "origin"), Registerer: registry})
	if err != nil {
		return nil, err
	}
	c.Events.Panics, c.Events.Logger, c.Events.Registerer = reports, logger.With("component", "events"), registry
	events, err := hook.NewEvents(c.Events)
	if err != nil {
		return nil, err
	}
	c.Authorize.Panics, c.Authorize.Logger, c.Authorize.Registerer = reports, logger.With("component", "authorize"), registry
	approval, err := hook.NewApproval(c.Authorize)
	if err != nil {
		return nil, err
	}
	store := outside.Store
	if store == nil {
		if store, err = openStore(c, logger, registry); err != nil {
			return nil, err
		}
	}
	revocations := revocation.New(revocation.Config{
		Store: store, Nodes: store, Node: node, Projects: len(c.Projects),
		Logger: logger.With("component", "revocation"), Registerer: registry,
	})
	accessConfig := access.Config{
		Rules: c.Rules, Port: access.Port{Address: c.Listen, Local: local}, Projects: projects.Credentials(),
		Revocations: revocations, Logger: logger, Registerer: registry,
	}
	if approval != nil {
		accessConfig.Approval = approval
	}
	decider, err := access.New(accessConfig)
	if err != nil {
		return nil, err
	}
	peers := cluster.New(cluster.Config{Store: store, Records: store, Node: node, Logger: logger.With("component", "scheduler"), Registerer: registry})
	schedulerConfig := scheduler.Config{
		Serves: projects.Serves, Minter: projects, Sealer: projects.Sealer(), Policy: c.Policy, MaxSessions: c.MaxSessions,
		Cluster: peers, Node: node, Access: decider, Certificate: projects.Certificate,
		Tracer: traces.Tracer(), Panics: reports, Logger: logger.With("component", "scheduler"), Registerer: registry,
	}
	if events != nil {
		schedulerConfig.SendEvent = events.Send
	}
	if approval != nil {
		schedulerConfig.Policy.ApprovalAhead = hook.ApprovalAhead
	}
	sched, err := scheduler.New(schedulerConfig)
	if err != nil {
		return nil, err
	}
	tracker := rotation.New(rotation.Config{
		Store: store, Node: node, Projects: projects.Fingerprints, MaxTTL: c.Policy.MaxTTL,
		Logger: logger.With("component", "rotation"), Registerer: registry,
	})
	err = projects.Follow(watcher, decider.Update, func(app string, now session.Fingerprint) {
		sched.CertificateChanged(app)
		tracker.Changed()
		if c.CertificateChanged != nil {
			c.CertificateChanged(app, now.String())
		}
	})
	if err != nil {
		return nil, err
	}
	hub, err := ws.New(ws.Config{
		Sessions: sched, Access: decider, Heartbeat: c.Heartbeat, JoinRate: c.JoinRate, Origins: origins,
		Panics: reports, Logger: logger.With("component", "ws"), Registerer: registry,
	})
	if err != nil {
		return nil, err
	}
	health := ops.New(ops.Config{
		Informed: revocations.Loaded, HasKeys: decider.HasKeys, Degraded: peers.Degraded, Works: sched.Health, Still: sched.Stalled,
		MaxSessions: c.MaxSessions, LogDropped: c.LogDropped, Registerer: registry,
	})
	metrics := ops.Metrics(registry)
	var page http.Handler
	if c.Page != nil {
		page = c.Page(metrics)
	}
	handler, err := api.New(api.Config{
		Minter: projects, Clients: sched, Access: decider, Sessions: store, Wishes: peers, Revocations: revocations, Cursors: projects.Sealer(), Policy: c.Policy,
		Certificates: tracker.Report, Inspect: projects.Inspect, Origins: origins,
		Logger: logger.With("component", "api"), Registerer: registry, WebSocket: hub, Page: page,
		Ready: health.Ready, BasePath: c.BasePath, CredentialInPath: c.CredentialInPath,
	})
	if err != nil {
		return nil, err
	}
	loopback, err := listen.IsLoopback(c.OpsListen)
	if err != nil {
		return nil, fmt.Errorf("ops-listen: %w", err)
	}
	tls, err := files.TLS(watcher, c.TLSCertFile, c.TLSKeyFile)
	if err != nil {
		return nil, err
	}
	publicListener, err := listen.Open(c.Listen, c.SocketMode, outside.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	opsListener, err := outside.Listen("tcp", c.OpsListen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ops-listen: %w", err), publicListener.Close())
	}
	descriptors := listen.NewDescriptors(logger, registry)
	publicListener = descriptors.ForClients(publicListener)
	if c.ProxyProtocol {
		publicListener = listen.ProxyProtocol(publicListener, decider.TrustsProxy, logger.With("component", "http"))
	}
	public := listen.NewServer(publicListener, listen.Config{
		Handler: reports.Handler(handler), TLS: tls, WriteTimeout: writeTimeout, IdleTimeout: c.IdleTimeout,
		Logger: logger.With("component", "http"),
	})
	return &App{
		config: c, node: node, logger: logger, traces: traces, files: watcher, projects: projects, events: events, approval: approval,
		store: store, revocations: revocations, access: decider, cluster: peers, scheduler: sched, rotation: tracker, hub: hub, health: health,
		public: public, ops: listen.NewServer(descriptors.ForProbes(opsListener), listen.Config{
			Handler: reports.Handler(health.Handler(metrics, loopback)), WriteTimeout: opsWriteTimeout, IdleTimeout: opsIdleTimeout,
			Logger: logger.With("component", "ops"),
		}),
	}, nil
}

// Node returns the node's name, which is unique among all nodes and restarts.
func (a *App) Node() string { return a.node }

// Addr returns the address of the public port.
func (a *App) Addr() net.Addr { return a.public.Addr() }

// OpsAddr returns the address of the operations port.
func (a *App) OpsAddr() net.Addr { return a.ops.Addr() }

// phase is a group of goroutines that stop together.
type phase struct {
	ctx   context.Context
	stop  context.CancelFunc
	group sync.WaitGroup
}

func newPhase(ctx context.Context) *phase {
	p := &phase{}
	p.ctx, p.stop = context.WithCancel(ctx)
	return p
}

func (p *phase) run(part func(context.Context)) { p.group.Go(func() { part(p.ctx) }) }

// end stops the goroutines and waits until they have returned.
func (p *phase) end() {
	p.stop()
	p.group.Wait()
}

// Run serves until ctx is done, and then drains: the node reports itself not ready, tells its
// clients to reconnect at times spread over the drain window, and stops. If the context `force` is cancelled, on a
// second signal, the drain ends early. Run returns nil after a drain, and only after all its goroutines have returned.
func (a *App) Run(ctx, force context.Context, reloads <-chan os.Signal) error {
	// The parts stop in this order: first the delivery of events, since the records of the sessions note which
	// events were delivered; then the sessions; and then the writing of records.
	saving := newPhase(context.WithoutCancel(ctx))
	parts, sending := newPhase(saving.ctx), newPhase(saving.ctx)
	var servers sync.WaitGroup
	failed := make(chan error, 2)
	serve := func(name string, s *listen.Server) {
		servers.Go(func() {
			if err := s.Serve(); err != nil {
				failed <- fmt.Errorf("serve %s: %w", name, err)
			}
		})
	}
	saving.run(func(ctx context.Context) { a.cluster.Run(ctx, a.scheduler) })
	if a.events != nil {
		sending.run(a.events.Run)
	}
	if a.approval != nil {
		parts.run(a.approval.Run)
	}
	parts.run(a.access.Run)
	parts.run(a.files.Run)
	parts.run(func(ctx context.Context) { a.reload(ctx, reloads) })
	parts.run(func(ctx context.Context) { a.revocations.Run(ctx, a.scheduler.Revoke) })
	parts.run(a.scheduler.Run)
	parts.run(a.rotation.Run)
	parts.run(a.hub.Run)
	serve("ops port", a.ops)
	select {
	case <-a.revocations.Known():
	case <-ctx.Done():
	case <-time.After(loadTimeout):
		a.logger.Warn("revocations cannot be loaded from Redis; the node admits no client until they are")
	}
	<-a.scheduler.Begun() // waits until the scheduler runs; otherwise the node might not be ready at a load balancer's first health check
	if a.config.Auth == "none" && a.config.Insecure {
		a.logger.Warn("--auth=none with --insecure: anyone who reaches the public port can get any token of the project; use --auth=jwt except for tests",
			"address", a.Addr().String())
	}
	serve("public port", a.public)
	a.logger.Info("serving", "address", a.Addr().String(), "ops_address", a.OpsAddr().String(), "app_ids", a.projects.Apps(),
		"auth", a.config.Auth, "node", a.node, "shared_store", a.config.Redis.URL != "")
	a.notifySystemd(daemon.SdNotifyReady)

	var err error
	select {
	case <-ctx.Done():
		a.drain(force)
	case err = <-failed:
		a.health.Drain()
	}

	a.public.Shutdown()
	a.hub.Close()
	sending.end()
	parts.end()
	saving.end()
	// The operations port comes last: Shutdown waits for requests in progress, such as a long profile, and these must
	// not delay the release of the node's lease.
	a.ops.Shutdown()
	servers.Wait()
	if c, ok := a.store.(io.Closer); ok {
		_ = c.Close() // all commands to the store have ended, so no data is lost if this fails
	}
	a.endTraces()
	a.logger.Info("stopped")
	return err
}

// endTraces sends the remaining traces.
func (a *App) endTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), traceTimeout)
	defer cancel()
	if err := a.traces.Close(ctx); err != nil {
		a.logger.Warn("the last traces could not be exported and are lost", "error", err)
	}
}

// reload reloads the files named in the settings on each signal.
func (a *App) reload(ctx context.Context, reloads <-chan os.Signal) {
	for {
		select {
		case <-reloads:
			a.logger.Info("SIGHUP received, reloading files")
			a.files.Reload()
		case <-ctx.Done():
			return
		}
	}
}

// drain tells all clients to reconnect to another node, and waits until they have disconnected.
func (a *App) drain(force context.Context) {
	a.health.Drain()
	a.notifySystemd(daemon.SdNotifyStopping)
	a.logger.Info("draining", "window_seconds", a.config.DrainWindow.Seconds())
	ctx, cancel := context.WithTimeout(force, a.config.DrainWindow+drainGrace)
	defer cancel()
	a.hub.Drain(ctx, a.config.DrainWindow)
}

// notifySystemd tells systemd the state of the service, such as daemon.SdNotifyReady. It has no effect unless a unit
// with Type=notify has started the service.
func (a *App) notifySystemd(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.logger.Warn("systemd could not be notified", "state", state, "error", err)
	}
}

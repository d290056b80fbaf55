package ws

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"refresher/internal/origin"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness runs a hub behind a real HTTP server. The connections are pipes in memory, so that a harness works in a
// synctest bubble.
type harness struct {
	t        *testing.T
	hub      *Hub
	sessions *sessions
	pipes    pipes
}

func newStage(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	s := &harness{t: t, sessions: &sessions{t: t}, pipes: pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}}
	c := Config{
		Sessions: s.sessions, Access: openAccess{}, Origins: ownOrigin(t), Heartbeat: 25 * time.Second,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&c)
	}
	var err error
	if s.hub, err = New(c); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.hub, ReadHeaderTimeout: 10 * time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(s.pipes) })
	running.Go(func() { s.hub.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = server.Close()
		s.hub.Close()
		running.Wait()
	})
	return s
}

// ownOrigin returns a checker that allows only pages of the service's own origin.
func ownOrigin(t *testing.T) *origin.Checker {
	t.Helper()
	checker, err := origin.New(origin.Config{Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return checker
}

// pipes is a listener whose connections are pipes in memory.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.accepted <- server
	return client, nil
}

// dial opens a WebSocket to the hub.
func (s *harness) dial() *peer {
	s.t.Helper()
	transport := &http.Transport{DialContext: s.pipes.dial}
	s.t.Cleanup(transport.CloseIdleConnections)
	socket, _, err := websocket.Dial(s.t.Context(), "ws://refresher.test/v1/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{protocol.Subprotocol},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = socket.CloseNow() })
	return &peer{t: s.t, socket: socket}
}

// join opens a WebSocket and joins a session.
func (s *harness) join() *peer {
	s.t.Helper()
	p := s.dial()
	p.send(`{"type":"join","rtc":{"channel":"c","uid":1}}`)
	if m := p.read(); m["type"] != protocol.TypeJoined {
		s.t.Fatalf("answer to join: %v", m)
	}
	return p
}

// peer is a test's client.
type peer struct {
	t      *testing.T
	socket *websocket.Conn
}

func (p *peer) send(text string) {
	p.t.Helper()
	if err := p.socket.Write(p.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

func (p *peer) read() map[string]any {
	p.t.Helper()
	_, data, err := p.socket.Read(p.t.Context())
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		p.t.Fatal(err)
	}
	return m
}

// closed waits until the connection is closed with the given code. It returns the messages that arrived before.
func (p *peer) closed(code protocol.CloseCode) (before []map[string]any) {
	p.t.Helper()
	for {
		_, data, err := p.socket.Read(p.t.Context())
		if err != nil {
			if got := protocol.CloseCode(websocket.CloseStatus(err)); got != code {
				p.t.Fatalf("closed with %d (%v), want %d; before that: %v", got, err, code, before)
			}
			return before
		}
		var m map[string]any
		if err := json.Unmarshal(data, &m); err != nil {
			p.t.Fatal(err)
		}
		before = append(before, m)
	}
}

// sessions is a fake Sessions whose attachments record their calls.
type sessions struct {
	t      *testing.T
	refuse error
	// beforeJoined, if not nil, is called before the joined message is written.
	beforeJoined func()
	// If `asks` is true, each join and resume waits until its context is done, as if the back end never answered the
	// approval request.
	asks    bool
	waiting atomic.Int32 // number of joins and resumes that wait because `asks` is true

	mu   sync.Mutex
	open []*attachment // guarded by mu
}

func (s *sessions) attach(ctx context.Context, c session.Client, resumed bool) (session.Attachment, error) {
	if s.asks {
		s.waiting.Add(1)
		defer s.waiting.Add(-1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.refuse != nil {
		return nil, s.refuse
	}
	if s.beforeJoined != nil {
		s.beforeJoined()
	}
	a := &attachment{client: c}
	s.mu.Lock()
	s.open = append(s.open, a)
	s.mu.Unlock()
	return a, c.Joined(session.Joined{Session: "S", Key: "K", Resumed: resumed, Push: session.Push{Seq: 1, Tokens: session.Tokens{RTC: "t", ExpiresAt: 9}}})
}

func (s *sessions) Join(ctx context.Context, _ session.Join, c session.Client) (session.Attachment, error) {
	return s.attach(ctx, c, false)
}

func (s *sessions) Open(r *session.Resume) error {
	if r.Key == "made up" {
		return session.ErrUnknown
	}
	return nil
}

func (s *sessions) Resume(ctx context.Context, _ session.Resume, c session.Client) (session.Attachment, error) {
	return s.attach(ctx, c, true)
}

func (s *sessions) last() *attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[len(s.open)-1]
}

type attachment struct {
	client session.Client
	broken bool // renew panics

	mu    sync.Mutex
	calls []string // guarded by mu
}

func (a *attachment) note(call string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, call)
}

func (a *attachment) said() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.calls...)
}

func (a *attachment) Ack(seq uint64) error {
	if seq > 5 {
		return session.Errorf(session.CodeBadRequest, "ack.seq: not sent yet")
	}
	a.note("ack")
	return nil
}

func (a *attachment) Nack(_ uint64, code, message string) error {
	a.note("nack " + code + " " + message)
	return nil
}

func (a *attachment) Renew() {
	if a.broken {
		panic("a fault")
	}
	a.note("renew")
}

func (a *attachment) Detach() { a.note("detach") }

func (a *attachment) Leave() {
	a.note("leave")
	a.client.End(session.Ending{Reason: session.EndLeft, AccessEndsAt: 9})
}

// counted reports whether the metric has counted a join with this outcome.
func counted(t *testing.T, s *harness, outcome string) bool {
	t.Helper()
	return testutil.ToFloat64(s.hub.metrics.joins.WithLabelValues(outcome)) > 0
}

// wait advances the simulated time by d and waits until all goroutines block.
func wait(d time.Duration) {
	time.Sleep(d) // bubble
	synctest.Wait()
}

// openAccess accepts every credential and grants every request.
type openAccess struct{}

func (openAccess) Authenticate(context.Context, string) (session.Caller, error) {
	return session.Caller{Grant: session.Grant{All: true}}, nil
}
func (openAccess) RateLimit(netip.Addr) time.Duration  { return 0 }
func (openAccess) ClientAddr(*http.Request) netip.Addr { return netip.Addr{} }

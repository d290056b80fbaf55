package ws

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
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

func newHarness(t *testing.T, change func(*Config)) *harness {
	t.Helper()
	s := &harness{t: t, sessions: &sessions{}, pipes: pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}}
	s.hub = newHub(t, s.sessions, change)
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

func newHub(t *testing.T, sessions *sessions, change func(*Config)) *Hub {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	origins, err := origin.New(origin.Config{Logger: logger, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Sessions: sessions, Access: openAccess{}, Origins: origins, Heartbeat: 25 * time.Second, Logger: logger, Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&c)
	}
	hub, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return hub
}

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

func (s *harness) dial() *peer {
	s.t.Helper()
	p := &peer{t: s.t}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		var err error
		p.raw, err = s.pipes.dial(ctx, network, address)
		return p.raw, err
	}}
	s.t.Cleanup(transport.CloseIdleConnections)
	socket, _, err := websocket.Dial(s.t.Context(), "ws://refresher.test/v1/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{protocol.Subprotocol},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	p.socket = socket
	s.t.Cleanup(func() { _ = socket.CloseNow() })
	return p
}

func (s *harness) join() *peer {
	s.t.Helper()
	p := s.dial()
	p.send(joinText)
	p.expect(protocol.TypeJoined)
	return p
}

const (
	joinText   = `{"type":"join","rtm":{"userId":"u"}}`
	resumeText = `{"type":"resume","session":"S","key":"K"}`
)

// peer is a test's client. The field `raw` is the connection below its WebSocket, for malformed frames.
type peer struct {
	t      *testing.T
	socket *websocket.Conn
	raw    net.Conn
}

func (p *peer) send(text string) {
	p.t.Helper()
	if err := p.socket.Write(p.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Fatalf("send: %v", err)
	}
}

type serverMessage struct {
	Type, Code, Message, Reason string
	Seq                         uint64
	AfterMs, Now, AccessEndsAt  int64
}

func (p *peer) expect(kind string) serverMessage {
	p.t.Helper()
	_, data, err := p.socket.Read(p.t.Context())
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	return p.decode(data, kind)
}

func (p *peer) decode(data []byte, kind string) (m serverMessage) {
	p.t.Helper()
	if err := json.Unmarshal(data, &m); err != nil || m.Type != kind {
		p.t.Fatalf("read %s, want %s; %v", data, kind, err)
	}
	return m
}

func (p *peer) closed(code protocol.CloseCode) {
	p.t.Helper()
	_, data, err := p.socket.Read(p.t.Context())
	if got := protocol.CloseCode(websocket.CloseStatus(err)); got != code {
		p.t.Fatalf("read %s; closed with %d (%v), want %d", data, got, err, code)
	}
}

// refused reads an error message and waits until the connection is closed with the given code.
func (p *peer) refused(closes protocol.CloseCode) serverMessage {
	p.t.Helper()
	m := p.expect(protocol.TypeError)
	p.closed(closes)
	return m
}

// sentAway reads a message `reconnect` and waits until the connection is closed. It returns the delay in the message.
func (p *peer) sentAway(closes protocol.CloseCode) time.Duration {
	p.t.Helper()
	m := p.expect(protocol.TypeReconnect)
	p.closed(closes)
	return time.Duration(m.AfterMs) * time.Millisecond
}

// closes returns how many connections were closed with a code, such as "4001".
func (s *harness) closes(code string) float64 {
	return testutil.ToFloat64(s.hub.metrics.closes.WithLabelValues(code))
}

// said checks that the hub has called these methods of the newest session, such as "ack", in this order.
func (s *harness) said(want ...string) {
	s.t.Helper()
	wait(time.Second)
	if got := s.sessions.last().said(); !slices.Equal(got, want) {
		s.t.Errorf("the session was told %q, want %q", got, want)
	}
}

// sessions is a fake Sessions. Each session.Attachment that it returns records the calls of its methods.
type sessions struct {
	refuse error
	// beforeJoined, if not nil, is called before the message `joined` is written.
	beforeJoined func()
	// If `asks` is true, each join and resume waits until its context is done, as if the back end never answered the
	// approval request. The field `waiting` is the number of these joins and resumes.
	asks    bool
	waiting atomic.Int32

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

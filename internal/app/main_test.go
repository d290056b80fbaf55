package app

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"refresher/internal/project"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	// go-redis looks every second whether a server that was away is back, and
	// notices only then that nobody wants to know any more.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

const (
	testAppID       = "970CA35de60c44645bbae8a215061b33"
	testCertificate = "5CFd2fd1755d40ecb72977518be15d3b"
)

func testConfig() Config {
	return Config{
		Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", IdleTimeout: 650 * time.Second,
		Settings: project.Settings{Projects: []project.Project{{AppID: testAppID, Certificates: []string{testCertificate}}}},
		Policy: session.Policy{
			TTL: time.Hour, MinTTL: 10 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 7 * 24 * time.Hour,
			AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
		},
		Heartbeat: 25 * time.Second, DrainWindow: 0, Auth: "none",
	}
}

// node is a running service.
type node struct {
	t       *testing.T
	app     *App
	stop    func()         // drains it and waits until it is gone
	reloads chan os.Signal // asks it to read its files again
}

// startNode runs a service on real ports of this machine.
func startNode(t *testing.T, change func(*Config)) *node {
	t.Helper()
	return start(t, change, Outside{})
}

func start(t *testing.T, change func(*Config), world Outside) *node {
	t.Helper()
	return startWith(t, change, world, quiet)
}

func startWith(t *testing.T, change func(*Config), world Outside, logger *slog.Logger) *node {
	t.Helper()
	c := testConfig()
	if change != nil {
		change(&c)
	}
	a, err := NewWith(c, logger, world)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, reloads := make(chan struct{}), make(chan os.Signal)
	go func() {
		defer close(done)
		if err := a.Run(ctx, context.Background(), reloads); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	n := &node{t: t, app: a, reloads: reloads, stop: sync.OnceFunc(func() {
		cancel()
		<-done
	})}
	t.Cleanup(n.stop)
	return n
}

// do requests a path of the public port.
func (n *node) do(method, path, body string, header ...string) (reply, string) {
	n.t.Helper()
	return n.request(method, "http://"+n.app.Addr().String()+path, body, header...)
}

// ops requests a path of the operations port.
func (n *node) ops(path string) (reply, string) {
	n.t.Helper()
	return n.request(http.MethodGet, "http://"+n.app.OpsAddr().String()+path, "")
}

// reply is an answer without its body.
type reply struct {
	StatusCode int
	Header     http.Header
}

func (n *node) request(method, url, body string, header ...string) (reply, string) {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	r.Close = true
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := noRedirect.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header}, string(text)
}

// socket is a bare WebSocket client.
type socket struct {
	*websocket.Conn
	t *testing.T
}

func (n *node) dial() *socket {
	n.t.Helper()
	c, _, err := websocket.Dial(n.t.Context(), "ws://"+n.app.Addr().String()+"/v1/ws", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.CloseNow() })
	return &socket{c, n.t}
}

func (s *socket) send(text string) {
	s.t.Helper()
	if err := s.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// message is any message from the server.
type message struct {
	Type    string
	Code    string
	Message string
	Reason  string
	Session string
	Key     string
	Seq     uint64
	Action  string
	Attempt int
	Cause   string
	Tokens  protocol.Tokens
}

// read returns the next message, or the code that the connection closed with.
func (s *socket) read() (message, protocol.CloseCode) {
	s.t.Helper()
	_, data, err := s.Conn.Read(s.t.Context())
	if err != nil {
		code := protocol.CloseCode(websocket.CloseStatus(err))
		if code < 0 {
			s.t.Fatalf("read: %v", err)
		}
		return message{}, code
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		s.t.Fatalf("%s: %v", data, err)
	}
	return m, 0
}

// expect reads a message of one type.
func (s *socket) expect(kind string) message {
	s.t.Helper()
	m, code := s.read()
	if m.Type != kind {
		s.t.Fatalf("got %+v (closed with %d), want %s", m, code, kind)
	}
	return m
}

// closed expects the connection to be closed.
func (s *socket) closed(want protocol.CloseCode) {
	s.t.Helper()
	if m, code := s.read(); code != want {
		s.t.Fatalf("got %+v, closed with %d; want %d", m, code, want)
	}
}

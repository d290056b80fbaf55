package apptest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/app"
	"refresher/internal/protocol"
)

// LoggedNode is a node whose log can be read.
type LoggedNode struct {
	*Node
	Log     *LogText
	Level   *slog.LevelVar // the log's level
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Network *Network // nil outside a bubble

	registry *prometheus.Registry
}

// NewLoggedNode runs a node in a synctest bubble, with its own network.
func NewLoggedNode(t *testing.T, change func(*app.Config)) *LoggedNode {
	t.Helper()
	network := NewNetwork()
	g := StartLoggedNode(t, func(c *app.Config) {
		c.Listen, c.OpsListen = ServiceAddress, "127.0.0.1:9090"
		change(c)
	}, app.Outside{Listen: network.Listen}, network.Dial)
	g.Network = network
	return g
}

// StartLoggedNode runs a node with the network and the store of `world`. The function `dial` connects to the node.
func StartLoggedNode(t *testing.T, change func(*app.Config), world app.Outside, dial func(context.Context, string, string) (net.Conn, error)) *LoggedNode {
	t.Helper()
	g := &LoggedNode{Log: newLogText(), Level: new(slog.LevelVar), Dial: dial, registry: prometheus.NewRegistry()}
	world.Registry = g.registry
	g.Node = StartWith(t, change, world, slog.New(slog.NewTextHandler(g.Log, &slog.HandlerOptions{Level: g.Level})))
	return g
}

// LogText is a log in memory.
type LogText struct {
	mu      sync.Mutex
	text    bytes.Buffer // guarded by mu
	written sync.Cond    // on mu
}

func newLogText() *LogText {
	j := &LogText{}
	j.written.L = &j.mu
	return j
}

func (j *LogText) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.written.Broadcast()
	return j.text.Write(p)
}

// Await waits until the log contains the text.
func (j *LogText) Await(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !strings.Contains(j.text.String(), text) {
		j.written.Wait()
	}
}

// Take returns the log since the last call of Take.
func (j *LogText) Take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// Visit makes a request to the public port. The argument `header` has names and values in turn; if a name is empty, the
// header is not sent.
func (g *LoggedNode) Visit(method, path, body string, header ...string) (Reply, string) {
	g.T.Helper()
	r, err := http.NewRequestWithContext(g.T.Context(), method, "http://"+g.App.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		g.T.Fatal(err)
	}
	for h := range slices.Chunk(header, 2) {
		if h[0] != "" {
			r.Header.Set(h[0], h[1])
		}
	}
	response, err := g.transport().RoundTrip(r)
	if err != nil {
		g.T.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.T.Fatal(err)
	}
	return Reply{response.StatusCode, response.Header}, string(text)
}

func (g *LoggedNode) transport() *http.Transport {
	return &http.Transport{DialContext: g.Dial, DisableKeepAlives: true, DisableCompression: true}
}

// Connect opens a WebSocket.
func (g *LoggedNode) Connect() *Socket {
	g.T.Helper()
	c, _, err := websocket.Dial(g.T.Context(), "ws://"+g.App.Addr().String()+"/v1/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: g.transport()},
	})
	if err != nil {
		g.T.Fatal(err)
	}
	g.T.Cleanup(func() { _ = c.CloseNow() })
	return &Socket{c, g.T}
}

// Operations returns the answer to a GET request to the operations port.
func (g *LoggedNode) Operations(path string) string {
	g.T.Helper()
	r, err := http.NewRequestWithContext(g.T.Context(), http.MethodGet, "http://"+g.App.OpsAddr().String()+path, nil)
	if err != nil {
		g.T.Fatal(err)
	}
	response, err := g.transport().RoundTrip(r)
	if err != nil {
		g.T.Fatalf("%s: %v", path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.T.Fatal(err)
	}
	return string(text)
}

// Answer is the answer to a request of the method Enter.
type Answer struct {
	Status        int // HTTP status; 200 for a join that was accepted
	Closed        protocol.CloseCode
	Code, Message string
	Header        http.Header
	Body          string
	Joined        Message
}

// Enter makes a request with a credential, or with the given headers instead. A request without a
// method is a join for the services in its body.
func (g *LoggedNode) Enter(e Request, credential string, header ...string) Answer {
	g.T.Helper()
	if e.Method == "" {
		return g.Join(e.Body, credential)
	}
	if len(header) == 0 && credential != "" {
		header = []string{"Authorization", "Bearer " + credential}
	}
	r, text := g.Visit(e.Method, e.Path, e.Body, header...)
	a := Answer{Status: r.StatusCode, Header: r.Header, Body: text}
	var problem struct {
		Error, Code string
		Status      int
	}
	if r.StatusCode != http.StatusOK && e.Method != http.MethodHead && r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		if err := json.Unmarshal([]byte(text), &problem); err != nil || problem.Status != r.StatusCode {
			g.T.Errorf("%s: %d %s", e, r.StatusCode, text)
		}
		a.Code, a.Message = problem.Code, problem.Error
	}
	return a
}

// Join tries to join a session, and leaves it if that succeeds.
func (g *LoggedNode) Join(body, credential string) Answer {
	g.T.Helper()
	s := g.Connect()
	defer func() { _ = s.CloseNow() }()
	// The join is written in another goroutine: the node does not read a message completely if it is too long, so a
	// write here would block.
	go func() {
		_ = s.Write(g.T.Context(), websocket.MessageText, []byte(`{"type":"join","auth":"`+credential+`",`+body+`}`))
	}()
	m, closed := s.Next()
	a := Answer{Closed: closed, Code: m.Code, Message: m.Message, Joined: m}
	switch m.Type {
	case protocol.TypeJoined:
		a.Status = http.StatusOK
		s.Send(`{"type":"leave"}`)
		s.Expect(protocol.TypeEnded)
		_, a.Closed = s.Next()
	case protocol.TypeError:
		if m, a.Closed = s.Next(); m.Type == protocol.TypeReconnect {
			_, a.Closed = s.Next()
		}
	default:
		g.T.Errorf("answer %+v", m)
	}
	return a
}

// Admin makes a request as the first project's operator.
func (g *LoggedNode) Admin(method, path, body string, into any) Reply {
	g.T.Helper()
	return g.AdminWith(Pass(map[string]any{"sub": "operator"}), method, path, body, into)
}

// AdminWith makes a request with an operator's credential, and decodes the answer.
func (g *LoggedNode) AdminWith(credential, method, path, body string, into any) Reply {
	g.T.Helper()
	r, text := g.Visit(method, path, body, "Authorization", "Bearer "+credential)
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			g.T.Fatalf("%s %s: %d %s", method, path, r.StatusCode, text)
		}
	}
	return r
}

// From returns the same node, to which requests now come from another client address. It works only in bubbles.
func (g *LoggedNode) From(address string) *LoggedNode {
	visitor := *g
	visitor.Dial = func(ctx context.Context, _, to string) (net.Conn, error) {
		p := g.Network.port(to)
		if p == nil {
			return nil, errors.New("connection refused")
		}
		ours, theirs := net.Pipe()
		select {
		case p.accepted <- addressed{theirs, addr(address)}:
			return newCable(ours, p.address), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &visitor
}

// ConnectWith opens a WebSocket with headers, or returns the status of the refusal.
func (g *LoggedNode) ConnectWith(header ...string) (*Socket, int) {
	g.T.Helper()
	headers := make(http.Header)
	for h := range slices.Chunk(header, 2) {
		if h[0] != "" {
			headers.Add(h[0], h[1])
		}
	}
	c, response, err := websocket.Dial(g.T.Context(), "ws://"+g.App.Addr().String()+"/v1/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: g.transport()}, HTTPHeader: headers,
	})
	if err != nil {
		if response == nil {
			g.T.Fatal(err)
		}
		return nil, response.StatusCode
	}
	g.T.Cleanup(func() { _ = c.CloseNow() })
	return &Socket{c, g.T}, http.StatusSwitchingProtocols
}

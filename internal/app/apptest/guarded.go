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
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"refresher/internal/app"
	"refresher/internal/protocol"
)

// Guarded is a service with whoever visits it, and what it writes.
type Guarded struct {
	*Node
	Log     *logText
	Level   *slog.LevelVar // of the log
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Network *network // in a bubble
}

// NewGuarded runs a service in a bubble, with a network of its own.
func NewGuarded(t *testing.T, change func(*app.Config)) *Guarded {
	t.Helper()
	network := NewNetwork()
	g := StartGuarded(t, func(c *app.Config) {
		c.Listen, c.OpsListen = ServiceAddress, "127.0.0.1:9090"
		change(c)
	}, app.Outside{Listen: network.Listen}, network.Dial)
	g.Network = network
	return g
}

func StartGuarded(t *testing.T, change func(*app.Config), world app.Outside, dial func(context.Context, string, string) (net.Conn, error)) *Guarded {
	t.Helper()
	g := &Guarded{Log: newLogText(), Level: new(slog.LevelVar), Dial: dial}
	g.Node = StartWith(t, change, world, slog.New(slog.NewTextHandler(g.Log, &slog.HandlerOptions{Level: g.Level})))
	return g
}

// logText is a log that can be read.
type logText struct {
	mu      sync.Mutex
	text    bytes.Buffer // guarded by mu
	written sync.Cond    // on mu
}

func newLogText() *logText {
	j := &logText{}
	j.written.L = &j.mu
	return j
}

func (j *logText) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.written.Broadcast()
	return j.text.Write(p)
}

// Await waits until something stands in the log.
func (j *logText) Await(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !strings.Contains(j.text.String(), text) {
		j.written.Wait()
	}
}

// Take is what was written since it was taken last.
func (j *logText) Take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// Visit requests a path of the public port. A header without a name is left out.
func (g *Guarded) Visit(method, path, body string, header ...string) (Reply, string) {
	g.T.Helper()
	r, err := http.NewRequestWithContext(g.T.Context(), method, "http://"+g.App.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		g.T.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] != "" {
			r.Header.Set(header[i], header[i+1])
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

func (g *Guarded) transport() *http.Transport {
	return &http.Transport{DialContext: g.Dial, DisableKeepAlives: true}
}

// Knock opens a WebSocket.
func (g *Guarded) Knock() *Socket {
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

// Metrics are the sums of the samples of some metrics, by name, and by name and
// label of those that have one.
func (g *Guarded) Metrics() map[string]float64 {
	g.T.Helper()
	sums := make(map[string]float64)
	for line := range strings.Lines(g.Operations("/metrics")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		x, err := strconv.ParseFloat(value, 64)
		if strings.HasPrefix(name, "refresher_") && err == nil {
			family, labels, _ := strings.Cut(name, "{")
			sums[family] += x
			if labels != "" {
				sums[name] += x
			}
		}
	}
	return sums
}

// Operations is what a path of the operations port shows.
func (g *Guarded) Operations(path string) string {
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

// Reception is what came of going to an entrance.
type Reception struct {
	Status        int // of HTTP; 200 when a join was taken
	Closed        protocol.CloseCode
	Code, Message string
	Header        http.Header
	Body          string
	Joined        Message
}

// Enter makes a request with a credential, or with other headers than those that have
// it. A request without a method is a join, for what its body has.
func (g *Guarded) Enter(e Request, credential string, header ...string) Reception {
	g.T.Helper()
	if e.Method == "" {
		return g.Join(e.Body, credential)
	}
	if len(header) == 0 && credential != "" {
		header = []string{"Authorization", "Bearer " + credential}
	}
	r, text := g.Visit(e.Method, e.Path, e.Body, header...)
	a := Reception{Status: r.StatusCode, Header: r.Header, Body: text}
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

// Join tries to open a session, and leaves it when that went well.
func (g *Guarded) Join(body, credential string) Reception {
	g.T.Helper()
	s := g.Knock()
	defer func() { _ = s.CloseNow() }()
	// Beside the reading: a message that is too long is never read to its end.
	go func() {
		_ = s.Write(g.T.Context(), websocket.MessageText, []byte(`{"type":"join","auth":"`+credential+`",`+body+`}`))
	}()
	m, closed := s.Next()
	a := Reception{Closed: closed, Code: m.Code, Message: m.Message, Joined: m}
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

// Admin requests something as the first project's operator.
func (g *Guarded) Admin(method, path, body string, into any) Reply {
	g.T.Helper()
	return g.AdminWith(Pass(map[string]any{"sub": "operator"}), method, path, body, into)
}

func (g *Guarded) AdminWith(credential, method, path, body string, into any) Reply {
	g.T.Helper()
	r, text := g.Visit(method, path, body, "Authorization", "Bearer "+credential)
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			g.T.Fatalf("%s %s: %d %s", method, path, r.StatusCode, text)
		}
	}
	return r
}

// From is the same service, seen from an address. It is for bubbles.
func (g *Guarded) From(address string) *Guarded {
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

// KnockWith opens a WebSocket with headers, or says why it was not.
func (g *Guarded) KnockWith(header ...string) (*Socket, int) {
	g.T.Helper()
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		if header[i] != "" {
			h.Add(header[i], header[i+1])
		}
	}
	c, response, err := websocket.Dial(g.T.Context(), "ws://"+g.App.Addr().String()+"/v1/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: g.transport()}, HTTPHeader: h,
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

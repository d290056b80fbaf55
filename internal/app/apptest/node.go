package apptest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/access"
	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/project"
	"refresher/internal/session"
)

// Quiet is a logger that discards everything.
var Quiet = slog.New(slog.DiscardHandler)

const (
	AppID       = "970CA35de60c44645bbae8a215061b33"
	Certificate = "5CFd2fd1755d40ecb72977518be15d3b"
)

// Config returns the default settings of test nodes: real ports on this machine, no credentials.
func Config() app.Config {
	return app.Config{
		Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", IdleTimeout: 650 * time.Second,
		Settings: project.Settings{Projects: []project.Project{{AppID: AppID, Certificates: []string{Certificate}}}},
		Policy: session.Policy{
			TTL: time.Hour, MinTTL: 10 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 7 * 24 * time.Hour,
			AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
		},
		Heartbeat: 50 * time.Second, Rules: access.Rules{Auth: "none"},
	}
}

// Node is a running service.
type Node struct {
	T       *testing.T
	App     *app.App
	Stop    func()         // drains the node, and returns when the node has stopped
	Reloads chan os.Signal // makes the node reload its files
}

// StartNode runs a service on real ports of this machine.
func StartNode(t *testing.T, change func(*app.Config)) *Node {
	t.Helper()
	return start(t, change, app.Outside{})
}

// StartWithRedis runs a service on real ports of this machine. It accepts credentials that are signed with
// OperatorSecret, and stores its sessions in Redis.
func StartWithRedis(t *testing.T, url string) *Node {
	t.Helper()
	return StartNode(t, func(c *app.Config) {
		c.Auth, c.Projects[0].Keys = "jwt", credential.Keys{Secrets: []string{OperatorSecret}}
		c.Redis.URL = url
	})
}

func start(t *testing.T, change func(*app.Config), world app.Outside) *Node {
	t.Helper()
	return StartWith(t, change, world, Quiet)
}

// StartWith runs a node with the network, the store and the metrics registry of `world`. The node writes its log to
// `logger`.
func StartWith(t *testing.T, change func(*app.Config), world app.Outside, logger *slog.Logger) *Node {
	t.Helper()
	c := Config()
	if change != nil {
		change(&c)
	}
	a, err := app.NewWith(c, logger, world)
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
	n := &Node{T: t, App: a, Reloads: reloads, Stop: sync.OnceFunc(func() {
		cancel()
		<-done
	})}
	t.Cleanup(n.Stop)
	return n
}

// Do requests a path of the public port.
func (n *Node) Do(method, path, body string, header ...string) (Reply, string) {
	n.T.Helper()
	return n.Request(method, "http://"+n.App.Addr().String()+path, body, header...)
}

// Ops requests a path of the operations port.
func (n *Node) Ops(path string) (Reply, string) {
	n.T.Helper()
	return n.Request(http.MethodGet, "http://"+n.App.OpsAddr().String()+path, "")
}

// Reply is an answer without its body.
type Reply struct {
	StatusCode int
	Header     http.Header
}

// Request requests a URL. A header named Host sets the host.
func (n *Node) Request(method, url, body string, header ...string) (Reply, string) {
	n.T.Helper()
	r, err := http.NewRequestWithContext(n.T.Context(), method, url, strings.NewReader(body))
	if err != nil {
		n.T.Fatal(err)
	}
	r.Close = true
	for h := range slices.Chunk(header, 2) {
		if h[0] == "Host" {
			r.Host = h[1]
		}
		r.Header.Set(h[0], h[1])
	}
	noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := noRedirect.Do(r)
	if err != nil {
		n.T.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.T.Fatal(err)
	}
	return Reply{response.StatusCode, response.Header}, string(text)
}

// Dial opens a WebSocket.
func (n *Node) Dial() *Socket {
	n.T.Helper()
	c, _, err := websocket.Dial(n.T.Context(), "ws://"+n.App.Addr().String()+"/v1/ws", nil)
	if err != nil {
		n.T.Fatal(err)
	}
	n.T.Cleanup(func() { _ = c.CloseNow() })
	return &Socket{c, n.T}
}

// Scrape requests the metrics in the format of a media type, such as "text/plain".
func (n *Node) Scrape(format string) string {
	n.T.Helper()
	_, text := n.Request(http.MethodGet, "http://"+n.App.OpsAddr().String()+"/metrics", "", "Accept", format)
	if !strings.Contains(text, "refresher_") {
		n.T.Fatal(text)
	}
	return text
}

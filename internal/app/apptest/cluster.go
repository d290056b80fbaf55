package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/access/credential"
	"refresher/internal/app"
	"refresher/internal/session"
	"refresher/internal/store"
)

// shared is a node's access to the store of a cluster. All operations fail while `away` or `dead` is true: the store
// cannot be reached, or the node was killed.
type shared struct {
	*store.Memory
	away *atomic.Bool
	dead *atomic.Bool
}

var errAway = errors.New("the store is away")

func (s shared) broken() error {
	if s.away.Load() || s.dead.Load() {
		return errAway
	}
	return nil
}

func (s shared) Acquire(ctx context.Context, g store.AcquireRequest) (store.Acquired, error) {
	if err := s.broken(); err != nil {
		return store.Acquired{}, err
	}
	return s.Memory.Acquire(ctx, g)
}

func (s shared) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	if err := s.broken(); err != nil {
		return make([]store.Outcome, len(records)), err
	}
	return s.Memory.Save(ctx, records)
}

func (s shared) PutRevocations(ctx context.Context, revocations ...store.Revocation) error {
	if err := s.broken(); err != nil {
		return err
	}
	return s.Memory.PutRevocations(ctx, revocations...)
}

func (s shared) Revocations(ctx context.Context, known store.RevocationsVersion) (all, later []store.Revocation, version store.RevocationsVersion, err error) {
	if err := s.broken(); err != nil {
		return nil, nil, store.RevocationsVersion{}, err
	}
	return s.Memory.Revocations(ctx, known)
}

func (s shared) WatchRevocations(ctx context.Context, changed func(store.RevocationsChange)) error {
	return s.Memory.WatchRevocations(ctx, func(c store.RevocationsChange) {
		if s.broken() == nil {
			changed(c)
		}
	})
}

func (s shared) PutEnded(ctx context.Context, r store.Revocation, node string, e store.Ended) error {
	if err := s.broken(); err != nil {
		return err
	}
	return s.Memory.PutEnded(ctx, r, node, e)
}

func (s shared) RevocationProgress(ctx context.Context, id string) (store.RevocationProgress, error) {
	if err := s.broken(); err != nil {
		return store.RevocationProgress{}, err
	}
	return s.Memory.RevocationProgress(ctx, id)
}

func (s shared) Sweep(ctx context.Context, node string, do store.Doing) (swept [store.Shards]store.Swept, err error) {
	if err := s.broken(); err != nil {
		for i := range swept {
			swept[i].Err = err
		}
		return swept, err
	}
	return s.Memory.Sweep(ctx, node, do)
}

// ClusterNode is a node of a cluster.
type ClusterNode struct {
	*Node
	Address string
	dead    *atomic.Bool
}

// OperatorSecret is the secret with which CredentialFor signs credentials.
const OperatorSecret = "what signs the credentials, of 32 bytes or more"

func (s shared) IDs(ctx context.Context, shard int) ([]string, error) {
	if err := s.broken(); err != nil {
		return nil, err
	}
	return s.Memory.IDs(ctx, shard)
}

func (s shared) Wish(ctx context.Context, w store.Wish) (store.Record, error) {
	if err := s.broken(); err != nil {
		return store.Record{}, err
	}
	return s.Memory.Wish(ctx, w)
}

func (s shared) SetStatus(ctx context.Context, node, topic, status string) error {
	if err := s.broken(); err != nil {
		return err
	}
	return s.Memory.SetStatus(ctx, node, topic, status)
}

func (s shared) Statuses(ctx context.Context, topic string) (map[string]string, error) {
	if err := s.broken(); err != nil {
		return nil, err
	}
	return s.Memory.Statuses(ctx, topic)
}

func (s shared) Get(ctx context.Context, id string) (store.Record, bool, error) {
	if err := s.broken(); err != nil {
		return store.Record{}, false, err
	}
	return s.Memory.Get(ctx, id)
}

// Cluster has nodes with one store behind a load balancer, in a synctest bubble. The nodes check
// credentials. While Away is set, the store cannot be reached.
type Cluster struct {
	*World
	Memory *store.Memory
	Away   atomic.Bool
	Nodes  []*ClusterNode
	change func(i int, c *app.Config)
	Wrap   func(app.Store) app.Store // if not nil, wraps the store of each node
	Admin  string                    // the operator's credential
	User   string                    // the default credential of clients
}

// NewOpenCluster starts nodes that check no credentials.
func NewOpenCluster(t *testing.T, nodes int) *Cluster {
	t.Helper()
	return NewCluster(t, nodes, func(_ int, c *app.Config) {
		c.Auth, c.Insecure, c.DrainWindow = "none", true, 5*time.Second
		c.Projects[0].Keys = credential.Keys{}
	})
}

// NewCluster starts nodes. The function `change` may change the settings of node i; it may be nil.
func NewCluster(t *testing.T, nodes int, change func(i int, c *app.Config)) *Cluster {
	t.Helper()
	s := &Cluster{
		World: NewWorld(t), Memory: store.NewMemory(time.Now), change: change,
		Admin: CredentialFor(t, "operator", true), User: CredentialFor(t, "ana", false),
	}
	for i := range nodes {
		s.Nodes = append(s.Nodes, s.StartOne(i))
	}
	return s
}

// StartOne starts node i. The caller must store the result in Nodes.
func (s *Cluster) StartOne(i int) *ClusterNode {
	n := &ClusterNode{Address: fmt.Sprintf("10.0.0.%d:8080", i+1), dead: new(atomic.Bool)}
	var st app.Store = shared{s.Memory, &s.Away, n.dead}
	if s.Wrap != nil {
		st = s.Wrap(st)
	}
	n.Node = start(s.T, func(c *app.Config) {
		c.Listen, c.OpsListen = n.Address, fmt.Sprintf("10.1.0.%d:9090", i+1)
		c.Auth, c.DrainWindow = "jwt", 2*time.Second
		c.Projects[0].Keys = credential.Keys{Secrets: []string{OperatorSecret}}
		if s.change != nil {
			s.change(i, c)
		}
	}, app.Outside{Listen: s.Network.Listen, Store: st})
	return n
}

// Deploy drains and stops a node, and starts another in its place.
func (s *Cluster) Deploy(i int) {
	s.Nodes[i].Stop()
	s.Nodes[i] = s.StartOne(i)
}

// Kill stops a node without a drain, like a crash.
func (s *Cluster) Kill(i int) {
	n := s.Nodes[i]
	n.dead.Store(true)
	s.Network.mu.Lock()
	delete(s.Network.ports, n.Address)
	s.Network.mu.Unlock()
	s.Network.cutThose(func(c *cable) bool { return string(c.to) == n.Address })
	n.Stop()
}

// Replace kills a node and starts another in its place.
func (s *Cluster) Replace(i int) {
	s.Kill(i)
	s.Nodes[i] = s.StartOne(i)
}

// RestartAll kills all nodes and starts others in their places.
func (s *Cluster) RestartAll() {
	for i := range s.Nodes {
		s.Kill(i)
	}
	for i := range s.Nodes {
		s.Nodes[i] = s.StartOne(i)
	}
}

// Ask makes a request to a node's public port.
func (s *Cluster) Ask(node int, credential, method, path, body string) (Reply, string) {
	s.T.Helper()
	return s.fetch(s.Nodes[node].Address, credential, method, path, body)
}

// Ops makes a GET request to a node's operations port.
func (s *Cluster) Ops(node int, path string) (Reply, string) {
	s.T.Helper()
	return s.fetch(fmt.Sprintf("10.1.0.%d:9090", node+1), "", http.MethodGet, path, "")
}

func (s *Cluster) fetch(address, credential, method, path, body string) (Reply, string) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.Ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		s.T.Fatal(err)
	}
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	response, err := s.HTTPClient().Do(r)
	if err != nil {
		s.T.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	return Reply{response.StatusCode, response.Header}, string(text)
}

// HTTPClient returns a client that can reach the nodes.
func (s *Cluster) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.Network.Dial, DisableKeepAlives: true}}
}

// Order makes a request as the operator. The request must succeed; its answer is decoded.
func (s *Cluster) Order(node int, method, path, body string, into any) {
	s.T.Helper()
	answer, text := s.Ask(node, s.Admin, method, path, body)
	if answer.StatusCode != http.StatusOK {
		s.T.Fatalf("%s %s %s: %d %s", method, path, body, answer.StatusCode, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		s.T.Fatalf("%s: %v", text, err)
	}
}

// Open connects to an address and sends the first message, `greeting`.
func (s *Cluster) Open(address, greeting string) *Line {
	s.T.Helper()
	socket, _, err := websocket.Dial(s.Ctx, "ws://"+address+"/v1/ws", &websocket.DialOptions{HTTPClient: s.HTTPClient()})
	if err != nil {
		s.T.Fatal(err)
	}
	l := &Line{t: s.T, Socket: socket, inbox: make(chan Received, 1000)}
	s.T.Cleanup(l.HangUp)
	if err := socket.Write(s.Ctx, websocket.MessageText, []byte(greeting)); err != nil {
		s.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Ctx)
	l.done.Go(func() {
		defer cancel()
		l.listen(ctx)
	})
	l.done.Go(func() { l.beat(ctx) })
	return l
}

// Join opens a session on a node.
func (s *Cluster) Join(node int, credential, wants string) *Line {
	s.T.Helper()
	l := s.Open(s.Nodes[node].Address, JoinMessage(credential, wants))
	l.Joined()
	return l
}

// Resume resumes a session on a node.
func (s *Cluster) Resume(node int, l *Line) *Line {
	s.T.Helper()
	again := s.Open(s.Nodes[node].Address, l.ResumeMessage())
	again.Joined()
	return again
}

// Revoked is the answer to a revocation.
type Revoked struct {
	ID            string
	Ended         int
	AccessEndsAt  session.UnixSec
	At, Until     int64
	Complete      bool
	WaitingFor    []string
	Error, Code   string
	Status        int
	Done          *Revoked
	ClassicEndsAt int64
}

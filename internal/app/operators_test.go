package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/access/credential"
	"refresher/internal/session"
	"refresher/internal/store"
)

// operatorSecret signs the credentials of these tests.
const operatorSecret = "what signs the credentials, of 32 bytes or more"

// credentialFor makes a credential that may have any token, and with admin see and change all.
func credentialFor(t *testing.T, subject string, admin bool) string {
	t.Helper()
	everything := []string{"*"}
	text, err := credential.Grant(credential.GrantConfig{
		Secret: operatorSecret, TTL: 30 * 24 * time.Hour,
		Caller: session.Caller{Subject: subject, Admin: admin, Grant: session.Grant{
			Channels: everything, UIDs: everything, Accounts: everything, RTMUsers: everything, Chat: everything,
			Roles: []session.Role{session.Publisher, session.Subscriber},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Listings fail with the store, as the rest of it does.
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

// SetStatus and Statuses do, too.
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

// operated is nodes that ask for credentials, and an operator who has one. It
// lives in a bubble.
type operated struct {
	*world
	memory *store.Memory
	away   atomic.Bool
	nodes  []*serviceNode
	change func(i int, c *Config)
	wrap   func(Store) Store // nil: the store as it is
	admin  string            // the operator's credential
	user   string            // that of most callers
}

// newOperated starts nodes. change may be nil.
func newOperated(t *testing.T, nodes int, change func(i int, c *Config)) *operated {
	t.Helper()
	s := &operated{
		world: newWorld(t), memory: store.NewMemory(time.Now), change: change,
		admin: credentialFor(t, "operator", true), user: credentialFor(t, "ana", false),
	}
	for i := range nodes {
		s.nodes = append(s.nodes, s.startOne(i))
	}
	return s
}

func (s *operated) startOne(i int) *serviceNode {
	n := &serviceNode{address: fmt.Sprintf("10.0.0.%d:8080", i+1), dead: new(atomic.Bool)}
	n.node = start(s.t, func(c *Config) {
		c.Listen, c.OpsListen = n.address, fmt.Sprintf("10.1.0.%d:9090", i+1)
		c.Auth, c.DrainWindow = "jwt", 2*time.Second
		c.Projects[0].Keys = credential.Keys{Secrets: []string{operatorSecret}}
		if s.change != nil {
			s.change(i, c)
		}
	}, Outside{Listen: s.network.listen, Store: func(Config, *slog.Logger, prometheus.Registerer) (Store, error) {
		var st Store = shared{s.memory, &s.away, n.dead}
		if s.wrap != nil {
			st = s.wrap(st)
		}
		return st, nil
	}})
	return n
}

// deploy stops a node in good order, and starts another in its place.
func (s *operated) deploy(i int) {
	s.nodes[i].stop()
	s.nodes[i] = s.startOne(i)
}

// kill has a node gone at once.
func (s *operated) kill(i int) {
	n := s.nodes[i]
	n.dead.Store(true)
	s.network.mu.Lock()
	delete(s.network.ports, n.address)
	s.network.mu.Unlock()
	s.network.cutThose(func(c *cable) bool { return string(c.to) == n.address })
	n.stop()
}

// replace has a node gone at once, and another in its place.
func (s *operated) replace(i int) {
	s.kill(i)
	s.nodes[i] = s.startOne(i)
}

// restartAll has all nodes gone at once, and others in their places.
func (s *operated) restartAll() {
	for i := range s.nodes {
		s.kill(i)
	}
	for i := range s.nodes {
		s.nodes[i] = s.startOne(i)
	}
}

// ask requests a path of a node's public port.
func (s *operated) ask(node int, credential, method, path, body string) (reply, string) {
	s.t.Helper()
	return s.fetch(s.nodes[node].address, credential, method, path, body)
}

// ops requests a path of a node's operations port.
func (s *operated) ops(node int, path string) (reply, string) {
	s.t.Helper()
	return s.fetch(fmt.Sprintf("10.1.0.%d:9090", node+1), "", http.MethodGet, path, "")
}

func (s *operated) fetch(address, credential, method, path, body string) (reply, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	response, err := s.httpClient().Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header}, string(text)
}

func (s *operated) httpClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.network.dial, DisableKeepAlives: true}}
}

// order has the operator ask for something that is to work, and reads the
// answer.
func (s *operated) order(node int, method, path, body string, into any) {
	s.t.Helper()
	answer, text := s.ask(node, s.admin, method, path, body)
	if answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s %s: %d %s", method, path, body, answer.StatusCode, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
}

// letter is a message that a call has had, or the end of its connection.
type letter struct {
	message
	AccessEndsAt session.UnixSec
	AfterMs      int64
	Now          int64
	code         int // of the end
	at           time.Time
}

// line is a connection that takes whatever comes, acks it, and sends pings.
type line struct {
	t       *testing.T
	socket  *websocket.Conn
	inbox   chan letter
	done    sync.WaitGroup
	session string
	key     string
	seq     atomic.Uint64 // newest that has come
	expires atomic.Int64  // its tokens' end, see ends
}

// ends is when the line's newest tokens end.
func (l *line) ends() session.UnixSec { return session.UnixSec(l.expires.Load()) }

// open connects to an address, and says something.
func (s *operated) open(address, greeting string) *line {
	s.t.Helper()
	socket, _, err := websocket.Dial(s.ctx, "ws://"+address+"/v1/ws", &websocket.DialOptions{HTTPClient: s.httpClient()})
	if err != nil {
		s.t.Fatal(err)
	}
	l := &line{t: s.t, socket: socket, inbox: make(chan letter, 1000)}
	s.t.Cleanup(l.hangUp)
	if err := socket.Write(s.ctx, websocket.MessageText, []byte(greeting)); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	l.done.Go(func() {
		defer cancel()
		l.listen(ctx)
	})
	l.done.Go(func() { l.beat(ctx) })
	return l
}

// hangUp breaks the connection.
func (l *line) hangUp() {
	_ = l.socket.CloseNow()
	l.done.Wait()
}

// beat sends pings.
func (l *line) beat(ctx context.Context) {
	tick := time.NewTicker(20 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = l.socket.Write(ctx, websocket.MessageText, []byte(`{"type":"ping"}`))
		case <-ctx.Done():
			return
		}
	}
}

// listen takes and acks what comes.
func (l *line) listen(ctx context.Context) {
	defer close(l.inbox)
	for {
		_, data, err := l.socket.Read(ctx)
		got := letter{at: time.Now()}
		if err != nil {
			got.code = int(websocket.CloseStatus(err))
			l.inbox <- got
			return
		}
		if err := json.Unmarshal(data, &got); err != nil {
			l.t.Errorf("%s: %v", data, err)
			return
		}
		if got.Type == "pong" {
			continue
		}
		if got.Seq > 0 {
			l.seq.Store(got.Seq)
			l.expires.Store(int64(expiry(got.message)))
			// Beside the reader: the pipe under it holds nothing, and the node may be writing, too.
			l.done.Go(func() {
				_ = l.socket.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"ack","seq":%d}`, got.Seq))
			})
		}
		l.inbox <- got
	}
}

// expiry is when the tokens of a message end.
func expiry(m message) session.UnixSec {
	switch {
	case m.Tokens.RTC != nil:
		return m.Tokens.RTC.ExpiresAt
	case m.Tokens.RTM != nil:
		return m.Tokens.RTM.ExpiresAt
	case m.Tokens.Chat != nil:
		return m.Tokens.Chat.ExpiresAt
	}
	return 0
}

// next is the next letter.
func (l *line) next() letter {
	l.t.Helper()
	select {
	case got, ok := <-l.inbox:
		if !ok {
			l.t.Fatal("nothing more can come on this connection")
		}
		return got
	case <-time.After(2 * time.Hour):
		l.t.Fatal("nothing comes")
	}
	return letter{}
}

// await is the next letter of a type; those before it are let go.
func (l *line) await(kind string) letter {
	l.t.Helper()
	for {
		got := l.next()
		if got.Type == kind {
			return got
		}
		if got.Type == "" {
			l.t.Fatalf("the connection ended with %d, want %s", got.code, kind)
		}
	}
}

// quiet demands that nothing has come.
func (l *line) quiet() {
	l.t.Helper()
	select {
	case got := <-l.inbox:
		l.t.Errorf("got %+v, want nothing", got)
	default:
	}
}

// joinMessage is a join for what is wanted, such as `"rtm":{"userId":"u"}`.
func joinMessage(credential, wants string) string {
	return fmt.Sprintf(`{"type":"join","auth":%q,%s}`, credential, wants)
}

// join opens a session on a node.
func (s *operated) join(node int, credential, wants string) *line {
	s.t.Helper()
	l := s.open(s.nodes[node].address, joinMessage(credential, wants))
	l.joined()
	return l
}

// joined takes note of the answer to a join or a resume.
func (l *line) joined() letter {
	l.t.Helper()
	got := l.next()
	if got.Type != "joined" {
		l.t.Fatalf("got %+v, want joined", got)
	}
	l.session, l.key = got.Session, got.Key
	return got
}

// resumeMessage comes back to the line's session.
func (l *line) resumeMessage() string {
	return fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":%d,"expiresAt":%d}`, l.session, l.key, l.seq.Load(), l.ends())
}

// resume comes back to a session on a node.
func (s *operated) resume(node int, l *line) *line {
	s.t.Helper()
	again := s.open(s.nodes[node].address, l.resumeMessage())
	again.joined()
	return again
}

// try asks a node for tokens in one of many ways, and says what came of it: "ok",
// or how it was refused. A way is "join" and what is wanted, "resume" or "renew",
// of the line's session, or an HTTP request.
func (s *operated) try(node int, credential string, l *line, way string) string {
	s.t.Helper()
	verb, rest, _ := strings.Cut(way, " ")
	switch verb {
	case "join":
		return s.greet(node, joinMessage(credential, rest))
	case "resume":
		return s.greet(node, l.resumeMessage())
	case "renew":
		answer, _ := s.ask(node, l.key, http.MethodPost, "/v1/sessions/"+l.session+"/renew", "")
		return httpOutcome(answer)
	}
	path, body, _ := strings.Cut(rest, " ")
	answer, _ := s.ask(node, credential, verb, path, body)
	return httpOutcome(answer)
}

func httpOutcome(answer reply) string {
	switch {
	case answer.StatusCode == http.StatusOK:
		return "ok"
	case answer.Header.Get("Retry-After") != "":
		return fmt.Sprintf("%d, later", answer.StatusCode)
	}
	return fmt.Sprint(answer.StatusCode)
}

// greet is what comes of a first message, such as "forbidden 4403".
func (s *operated) greet(node int, greeting string) string {
	s.t.Helper()
	l := s.open(s.nodes[node].address, greeting)
	defer l.hangUp()
	var said []string
	for {
		switch got := l.next(); got.Type {
		case "joined":
			_ = l.socket.Write(s.ctx, websocket.MessageText, []byte(`{"type":"leave"}`))
			l.await("ended")
			return "ok"
		case "":
			return strings.Join(append(said, fmt.Sprint(got.code)), " ")
		case "reconnect":
			if got.AfterMs <= 0 {
				s.t.Errorf("sent away without a time: %+v", got)
			}
			said = append(said, "later")
		default:
			said = append(said, cmp.Or(got.Code, got.Reason))
		}
	}
}

// refusals tries all ways on all nodes again and again, until that were so many
// times, and demands that each is refused, and for good.
func (s *operated) refusals(times int, credential string, l *line, ways []string) {
	s.t.Helper()
	tries := make(map[string]int)
	for n := range times {
		way := ways[n/len(s.nodes)%len(ways)]
		got := s.try(n%len(s.nodes), credential, l, way)
		tries[got]++
		if !slices.Contains([]string{"forbidden 4403", "revoked 4410", "403", "410"}, got) {
			s.t.Errorf("%s on node %d: %s", way, n%len(s.nodes), got)
		}
	}
	s.t.Logf("%d attempts by %d ways: %v", times, len(ways), tries)
}

// allOK demands that all ways work on all nodes.
func (s *operated) allOK(credential string, ways []string) {
	s.t.Helper()
	for i := range s.nodes {
		for _, way := range ways {
			if got := s.try(i, credential, nil, way); got != "ok" {
				s.t.Errorf("%s on node %d: %s", way, i, got)
			}
		}
	}
}

// decodeMessage reads the answer to a renewal over HTTP.
func decodeMessage(t *testing.T, text string) (m message) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

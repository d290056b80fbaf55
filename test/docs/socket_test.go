package docs

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
)

// socket is a WebSocket client without any protocol logic. It checks every message that it reads against
// asyncapi.yaml, and records the message's values.
type socket struct {
	*websocket.Conn
	t    *testing.T
	seen *record
}

// record collects the values that the service has sent. A nil record collects nothing. It is safe for concurrent use.
type record struct {
	mu   sync.Mutex
	said map[string]map[string]bool // guarded by mu; the values of each field, by "message.field"
}

func (r *record) add(what, value string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.said[what] == nil {
		r.said[what] = make(map[string]bool)
	}
	r.said[what][value] = true
}

func (n *node) dial(t *testing.T, seen *record) *socket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+n.App.Addr().String()+"/v1/ws", &websocket.DialOptions{
		Subprotocols: []string{protocol.Subprotocol},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return &socket{c, t, seen}
}

func (s *socket) send(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) hear() (object, protocol.CloseCode) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_, data, err := s.Conn.Read(ctx)
	if err != nil {
		code := protocol.CloseCode(websocket.CloseStatus(err))
		if code < 0 {
			s.t.Fatalf("read: %v", err)
		}
		s.seen.add("close", fmt.Sprint(int(code)))
		return nil, code
	}
	m := parse(data).(object)
	s.check(m)
	return m, 0
}

func (s *socket) check(m object) {
	s.t.Helper()
	kind := fmt.Sprint(m["type"])
	if !slices.Contains(fromServer(), kind) {
		s.t.Errorf("asyncapi.yaml has no message %q that the server sends: %v", kind, m)
		return
	}
	if err := asyncAPI().check("/components/messages/"+kind+"/payload", m); err != nil {
		s.t.Errorf("asyncapi.yaml refuses %v: %v", m, err)
	}
	s.seen.add("type", kind)
	for _, field := range []string{"action", "cause", "reason", "code"} {
		if value, ok := m[field].(string); ok {
			s.seen.add(kind+"."+field, value)
		}
	}
}

func (s *socket) expect(kind string) object {
	s.t.Helper()
	m, code := s.hear()
	if m["type"] != kind {
		s.t.Fatalf("got %v (closed with %d), want %s", m, code, kind)
	}
	return m
}

func (s *socket) closed(want protocol.CloseCode) {
	s.t.Helper()
	if m, code := s.hear(); code != want {
		s.t.Fatalf("got %v, closed with %d; want %d", m, code, want)
	}
}

func (s *socket) lose() { _ = s.CloseNow() }

// fromClient and fromServer return the message types of each direction in asyncapi.yaml.
func fromClient() []string { return operationMessages("receive") }
func fromServer() []string { return operationMessages("send") }

func operationMessages(action string) []string {
	found := make(map[string]bool)
	for _, o := range asyncAPI().children("/operations") {
		messages := o["messages"]
		if o["action"] != action { // the reply to an operation goes in the opposite direction
			reply, _ := o["reply"].(object)
			messages = reply["messages"]
		}
		for _, m := range anyList(messages) {
			found[path.Base(m.(object)["$ref"].(string))] = true
		}
	}
	return names(found)
}

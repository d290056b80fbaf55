package apptest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/coder/websocket"

	"refresher/internal/protocol"
)

const JoinText = `{"type":"join","rtc":{"channel":"c","uid":1},"rtm":{"userId":"1"}}`

// ResumeText returns a resume of the session in a message `joined`.
func ResumeText(m Message, seq uint64) string {
	return fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":%d}`, m.Session, m.Key, seq)
}

// Frame returns the text as a text frame of a client. The frame's mask is zero.
func Frame(text string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}

// Ticket has the id and the resume key of a session.
type Ticket struct{ Session, Key string }

// take returns the next message, or the close code; 1006 if the connection broke.
func (s *Socket) take() (Message, protocol.CloseCode) {
	_, data, err := s.Conn.Read(s.t.Context())
	if err != nil {
		if code := protocol.CloseCode(websocket.CloseStatus(err)); code > 0 {
			return Message{}, code
		}
		return Message{}, protocol.CloseAbnormal
	}
	var m Message
	if err := json.Unmarshal(data, &m); err != nil {
		s.t.Errorf("%s: %v", data, err)
	}
	return m, 0
}

// Socket is a WebSocket client without the protocol's logic.
type Socket struct {
	*websocket.Conn
	t *testing.T
}

// NewSocket makes a Socket from a connection.
func NewSocket(t *testing.T, c *websocket.Conn) *Socket { return &Socket{c, t} }

// Send writes a message.
func (s *Socket) Send(text string) {
	s.t.Helper()
	if err := s.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// Message is any message from the server.
type Message struct {
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

// Next returns the next message, or the close code.
func (s *Socket) Next() (Message, protocol.CloseCode) {
	s.t.Helper()
	_, data, err := s.Conn.Read(s.t.Context())
	if err != nil {
		code := protocol.CloseCode(websocket.CloseStatus(err))
		if code < 0 {
			s.t.Fatalf("read: %v", err)
		}
		return Message{}, code
	}
	var m Message
	if err := json.Unmarshal(data, &m); err != nil {
		s.t.Fatalf("%s: %v", data, err)
	}
	return m, 0
}

// Expect reads the next message and checks its type.
func (s *Socket) Expect(kind string) Message {
	s.t.Helper()
	m, code := s.Next()
	if m.Type != kind {
		s.t.Fatalf("got %+v (closed with %d), want %s", m, code, kind)
	}
	return m
}

// Closed waits until the connection is closed, and checks the close code.
func (s *Socket) Closed(want protocol.CloseCode) {
	s.t.Helper()
	if m, code := s.Next(); code != want {
		s.t.Fatalf("got %+v, closed with %d; want %d", m, code, want)
	}
}

package apptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing/synctest"

	"github.com/coder/websocket"

	"refresher/internal/agora"
	"refresher/internal/protocol"
)

// Holder is a client that acks all bundles and remembers its messages. The method State returns them.
type Holder struct {
	G       *LoggedNode
	Socket  *Socket
	Reading sync.WaitGroup // ends when the connection is closed

	mu     sync.Mutex
	newest Message            // guarded by mu
	joined Message            // guarded by mu
	ended  string             // guarded by mu
	closed protocol.CloseCode // guarded by mu
}

// Connect opens a connection, sends a join or a resume, and reads the connection until it is closed.
func (h *Holder) Connect(greeting string) {
	s := h.G.Connect()
	h.Socket = s
	h.mu.Lock()
	h.closed = 0
	h.mu.Unlock()
	// The acks are written in another goroutine. The server does not read while it writes; if this goroutine then wrote
	// an ack instead of reading, both would wait for each other.
	said := make(chan string, 100)
	h.Reading.Go(func() {
		for text := range said {
			_ = s.Write(h.G.T.Context(), websocket.MessageText, []byte(text)) // fails only if the connection is closed, which take reports
		}
	})
	h.Reading.Go(func() {
		defer close(said)
		for {
			m, closed := s.take()
			h.mu.Lock()
			if closed != 0 {
				h.closed = closed
				h.mu.Unlock()
				return
			}
			h.hold(&m)
			h.mu.Unlock()
			if m.Seq > 0 {
				said <- fmt.Sprintf(`{"type":"ack","seq":%d}`, m.Seq)
			}
		}
	})
	s.Send(greeting)
	synctest.Wait()
}

// hold remembers a message. The caller holds h.mu.
func (h *Holder) hold(m *Message) {
	switch m.Type {
	case protocol.TypeJoined:
		h.joined = *m
	case protocol.TypeEnded:
		h.ended = m.Reason
	}
	if m.Tokens != (protocol.Tokens{}) {
		h.newest = *m
	}
}

// State returns the newest message with tokens, the newest message `joined`, the reason of the session's end, and the
// close code of the newest connection. The reason is empty while the session is open, and the code is 0 while the
// connection is open.
func (h *Holder) State() (newest, joined Message, ended string, closed protocol.CloseCode) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest, h.joined, h.ended, h.closed
}

// OverHTTP renews the session over HTTP with its newest resume key. It returns the status of the answer.
func (h *Holder) OverHTTP() int {
	newest, joined, _, _ := h.State()
	r, text := h.G.Visit("POST", "/v1/sessions/"+joined.Session+"/renew", fmt.Sprintf(`{"seq":%d}`, newest.Seq), "Authorization", "Bearer "+joined.Key)
	if r.StatusCode == http.StatusOK {
		var m Message
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			h.G.T.Error(err)
		}
		h.mu.Lock()
		h.hold(&m)
		h.mu.Unlock()
	}
	return r.StatusCode
}

// Leave ends the client's session, and waits until its connection is closed.
func (h *Holder) Leave() {
	h.Socket.Send(`{"type":"leave"}`)
	h.Reading.Wait()
}

// Lose breaks the client's connection.
func (h *Holder) Lose() {
	_ = h.Socket.CloseNow()
	h.Reading.Wait()
	synctest.Wait()
}

// Back resumes the session with its newest resume key, and reports whether the node accepted it.
func (h *Holder) Back() bool {
	newest, joined, _, _ := h.State()
	h.Connect(ResumeText(joined, newest.Seq))
	after, _, _, closed := h.State()
	return closed == 0 && after.Seq > newest.Seq
}

// SignedBy checks that the client's newest tokens are signed with a certificate.
func (h *Holder) SignedBy(certificate string) {
	h.G.T.Helper()
	newest, _, _, _ := h.State()
	token, err := agora.Parse(newest.Tokens.RTC.Token)
	if err == nil {
		err = token.Verify(certificate, agora.Holder{Channel: "daily", User: "7"})
	}
	if err != nil {
		h.G.T.Errorf("seq %d: %v", newest.Seq, err)
	}
}

// TokensOf returns the tokens of a message, keyed by service, such as "rtc".
func TokensOf(m Message) map[string]string {
	tokens := make(map[string]string)
	for name, token := range map[string]*protocol.Token{"rtc": m.Tokens.RTC, "rtm": m.Tokens.RTM, "chat": m.Tokens.Chat} {
		if token != nil {
			tokens[name] = token.Token
		}
	}
	return tokens
}

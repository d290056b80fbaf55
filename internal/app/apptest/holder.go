package apptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/agora"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Holder is a client that acks all bundles, and checks each token against its grant.
type Holder struct {
	G      *LoggedNode
	MaxTTL int64           // the grant's limit in seconds; 0 means none
	Until  session.UnixSec // the grant's expiry; 0 means none

	mu      sync.Mutex
	Bundles int                // guarded by mu; number of bundles received
	newest  Message            // guarded by mu; the newest message with tokens
	joined  Message            // guarded by mu; the newest "joined"
	Ended   string             // guarded by mu; why the session ended; empty before
	closed  protocol.CloseCode // guarded by mu; the close code of the newest connection
	refuse  bool               // guarded by mu; the client refuses the next bundle
	Faults  []string           // guarded by mu; texts of failed checks
	Socket  *Socket
	Reading sync.WaitGroup
}

// RefuseNext makes the client refuse the next bundle with a nack.
func (h *Holder) RefuseNext() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = true
}

// Connect opens a connection with a join or a resume, and reads it from then on.
func (h *Holder) Connect(greeting string) {
	s := h.G.Connect()
	h.Socket = s
	h.mu.Lock()
	h.closed = 0
	h.mu.Unlock()
	// Write in a separate goroutine: the server may be writing at this time, and then it reads nothing.
	said := make(chan string, 100)
	h.Reading.Go(func() {
		for text := range said {
			_ = s.Write(h.G.T.Context(), websocket.MessageText, []byte(text)) // fails if the connection is closed
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
			kind := "ack"
			if h.refuse && m.Seq > 0 {
				kind, h.refuse = "nack", false
			}
			h.mu.Unlock()
			if m.Seq > 0 {
				said <- fmt.Sprintf(`{"type":%q,"seq":%d}`, kind, m.Seq)
			}
		}
	})
	s.Send(greeting)
	synctest.Wait()
}

// hold records a message and checks its tokens. The caller holds h.mu.
func (h *Holder) hold(m *Message) {
	switch m.Type {
	case protocol.TypeJoined:
		h.joined = *m
	case protocol.TypeEnded:
		h.Ended = m.Reason
	}
	now := session.SecOf(time.Now())
	for name, token := range map[string]*protocol.Token{"rtc": m.Tokens.RTC, "rtm": m.Tokens.RTM} {
		if token == nil {
			continue
		}
		h.newest = *m
		h.Bundles++
		parsed, err := agora.Parse(token.Token)
		switch {
		case err != nil:
			h.Faults = append(h.Faults, err.Error())
		case parsed.ExpiresAt != token.ExpiresAt || parsed.ValidUntil != token.ExpiresAt:
			h.Faults = append(h.Faults, fmt.Sprintf("%s: says %d, ends %d", name, token.ExpiresAt, parsed.ExpiresAt))
		case h.Until != 0 && token.ExpiresAt > h.Until:
			h.Faults = append(h.Faults, fmt.Sprintf("%s by %s (%s): %d s past until", name, m.Type, m.Cause, token.ExpiresAt-h.Until))
		case h.MaxTTL != 0 && token.ExpiresAt > now+session.UnixSec(h.MaxTTL):
			h.Faults = append(h.Faults, fmt.Sprintf("%s by %s (%s): lives %d s", name, m.Type, m.Cause, token.ExpiresAt-now))
		}
	}
}

// State returns the newest bundle, the newest joined message, and how the session or the connection
// has ended.
func (h *Holder) State() (newest, joined Message, ended string, closed protocol.CloseCode) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.newest, h.joined, h.Ended, h.closed
}

// OverHTTP renews over HTTP with the newest resume key, and checks the tokens.
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

// Leave ends a client's session, and waits until its connection is gone.
func (h *Holder) Leave() {
	h.Socket.Send(`{"type":"leave"}`)
	h.Reading.Wait()
}

// Lose breaks a client's connection.
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

// TokensOf returns the tokens of a message, by service.
func TokensOf(m Message) map[string]string {
	tokens := make(map[string]string)
	for name, token := range map[string]*protocol.Token{"rtc": m.Tokens.RTC, "rtm": m.Tokens.RTM, "chat": m.Tokens.Chat} {
		if token != nil {
			tokens[name] = token.Token
		}
	}
	return tokens
}

package apptest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/session"
)

const PublisherWants = `"rtc":{"channel":"c","uid":7,"role":"publisher"}`

// Received is a message that a Line has received, or the close of its connection.
type Received struct {
	Message
	AccessEndsAt session.UnixSec
	AfterMs      int64
	Now          int64
	CloseCode    int // 0 unless the connection was closed
	At           time.Time
}

// Line is a client's connection that acks all bundles and sends heartbeats.
type Line struct {
	t       *testing.T
	Socket  *websocket.Conn
	inbox   chan Received
	done    sync.WaitGroup
	Session string
	Key     string
	Seq     atomic.Uint64 // sequence number of the newest bundle
	expires atomic.Int64  // when the newest tokens expire, in Unix seconds
}

// Ends returns when the line's newest tokens expire.
func (l *Line) Ends() session.UnixSec { return session.UnixSec(l.expires.Load()) }

// HangUp breaks the connection.
func (l *Line) HangUp() {
	_ = l.Socket.CloseNow()
	l.done.Wait()
}

// beat sends pings.
func (l *Line) beat(ctx context.Context) {
	tick := time.NewTicker(20 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = l.Socket.Write(ctx, websocket.MessageText, []byte(`{"type":"ping"}`))
		case <-ctx.Done():
			return
		}
	}
}

// listen receives messages and acks bundles.
func (l *Line) listen(ctx context.Context) {
	defer close(l.inbox)
	for {
		_, data, err := l.Socket.Read(ctx)
		got := Received{At: time.Now()}
		if err != nil {
			got.CloseCode = int(websocket.CloseStatus(err))
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
			l.Seq.Store(got.Seq)
			l.expires.Store(int64(Expiry(got.Message)))
			// The ack is written in another goroutine. The pipe between node and client has no buffer; if the node and
			// this goroutine wrote at the same time, each would wait for the other to read.
			l.done.Go(func() {
				_ = l.Socket.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"ack","seq":%d}`, got.Seq))
			})
		}
		l.inbox <- got
	}
}

// Expiry returns when the tokens in a message expire.
func Expiry(m Message) session.UnixSec {
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

// Next waits for the next message, or for the close of the connection.
func (l *Line) Next() Received {
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
	return Received{}
}

// Await waits for the next message of a type, and skips other messages.
func (l *Line) Await(kind string) Received {
	l.t.Helper()
	for {
		got := l.Next()
		if got.Type == kind {
			return got
		}
		if got.Type == "" {
			l.t.Fatalf("the connection ended with %d, want %s", got.CloseCode, kind)
		}
	}
}

// Quiet checks that nothing was received.
func (l *Line) Quiet() {
	l.t.Helper()
	select {
	case got := <-l.inbox:
		l.t.Errorf("got %+v, want nothing", got)
	default:
	}
}

// JoinMessage returns a join. The text `wants` has the services, such as `"rtm":{"userId":"u"}`.
func JoinMessage(credential, wants string) string {
	return fmt.Sprintf(`{"type":"join","auth":%q,%s}`, credential, wants)
}

// Joined waits for the answer to a join or a resume, and stores its session and resume key.
func (l *Line) Joined() Received {
	l.t.Helper()
	got := l.Next()
	if got.Type != "joined" {
		l.t.Fatalf("got %+v, want joined", got)
	}
	l.Session, l.Key = got.Session, got.Key
	return got
}

// ResumeMessage returns the message `resume` for the line's session.
func (l *Line) ResumeMessage() string {
	return fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":%d,"expiresAt":%d}`, l.Session, l.Key, l.Seq.Load(), l.Ends())
}

// DecodeMessage decodes the answer to a renewal over HTTP.
func DecodeMessage(t *testing.T, text string) (m Message) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"refresher/internal/agora"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// changed is the answer to changing or ending a session.
type changed struct {
	ID                      string
	Version                 session.UnixMilli
	Role                    string
	Applied, Pushed, Stored bool
	Node, Note              string
	AccessEndsAt            session.UnixSec // only if the session was ended
}

// publishes reports whether an RTC token lets its holder publish.
func publishes(t *testing.T, token string) bool {
	t.Helper()
	read, err := agora.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	return len(read.Services[0].Privileges) == 4
}

// Two real nodes share a real Redis. If an operator changes a session during an outage of Redis,
// the node writes the change to Redis later, at the latest when it stops.
func TestChangesOfRealNodes(t *testing.T) {
	server := redistest.Start(t)
	begin := func() *apptest.Node { return apptest.StartWithRedis(t, server.URL()) }
	a, b := begin(), begin()
	admin, ana := apptest.CredentialFor(t, "operator", true), apptest.CredentialFor(t, "ana", false)
	change := func(n *apptest.Node, method, session, body string) (answer changed, status int) {
		t.Helper()
		reply, text := n.Do(method, "/v1/sessions/"+session, body, "Authorization", "Bearer "+admin)
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return answer, reply.StatusCode
	}
	join := func() (*apptest.Socket, apptest.Message) {
		s := b.Dial()
		s.Send(apptest.JoinMessage(ana, apptest.PublisherWants))
		return s, s.Expect("joined")
	}
	s, joined := join()
	answer, status := change(a, http.MethodPatch, joined.Session, `{"rtc":{"role":"subscriber"}}`)
	push := s.Expect("token-privilege-will-expire")
	if status != http.StatusOK || !answer.Applied || !answer.Pushed || !answer.Stored || answer.Role != "subscriber" || store.NodeID(answer.Node) != store.NodeID(b.App.Node()) || push.Cause != "role" || publishes(t, push.Tokens.RTC.Token) {
		t.Errorf("%d %+v, pushed %+v", status, answer, push)
	}
	answer, status = change(a, http.MethodDelete, joined.Session, "")
	if ended := s.Expect("ended"); status != http.StatusOK || ended.Reason != "revoked" || !answer.Applied || answer.AccessEndsAt != push.Tokens.RTC.ExpiresAt {
		t.Errorf("%d %+v, told %+v", status, answer, ended)
	}
	s.Closed(protocol.CloseEnded)

	s, joined = join()
	// The renewal writes the session to Redis.
	if _, status := change(a, http.MethodPatch, joined.Session, `{"renew":true}`); status != http.StatusOK {
		t.Errorf("renewed: %d", status)
	}
	s.Expect("token-privilege-will-expire")
	server.Kill()
	if _, status := change(a, http.MethodDelete, joined.Session, ""); status != http.StatusServiceUnavailable {
		t.Errorf("elsewhere, without Redis: %d", status)
	}
	answer, status = change(b, http.MethodDelete, joined.Session, "")
	if ended := s.Expect("ended"); status != http.StatusOK || !answer.Applied || answer.Stored || ended.Reason != "revoked" {
		t.Errorf("here, without Redis: %d %+v, told %+v", status, answer, ended)
	}
	server.Restart()
	b.Stop()
	// If node "a" has noticed the outage, it uses the role in the resume key until its next sweep. A new node reads the
	// change from Redis.
	if reply, text := begin().Do(http.MethodPost, "/v1/sessions/"+joined.Session+"/renew", "", "Authorization", "Bearer "+joined.Key); reply.StatusCode != http.StatusGone || !strings.Contains(text, `"reason":"revoked"`) {
		t.Errorf("renewed: %d %s", reply.StatusCode, text)
	}
}

package revocation_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/test/redistest"
)

func TestMain(m *testing.M) { apptest.Main(m) }

func TestRevocationsOfRealNodes(t *testing.T) {
	server := redistest.Start(t)
	begin := func() *apptest.Node { return apptest.StartWithRedis(t, server.URL()) }
	a, b := begin(), begin()
	admin, ana := apptest.CredentialFor(t, "operator", true), apptest.CredentialFor(t, "ana", false)
	join := apptest.JoinMessage(ana, `"rtc":{"channel":"daily","uid":7,"role":"publisher"}`)
	s := b.Dial()
	s.Send(join)
	joined := s.Expect("joined")

	answer, text := a.Do(http.MethodPost, "/v1/revocations", `{"channel":"daily","for":600}`, "Authorization", "Bearer "+admin)
	var given apptest.Revoked
	if err := json.Unmarshal([]byte(text), &given); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %s: %v", answer.StatusCode, text, err)
	}
	if ended := s.Expect("ended"); ended.Reason != "revoked" {
		t.Errorf("told %+v", ended)
	}
	s.Closed(protocol.CloseEnded)
	if given.Ended != 1 || given.AccessEndsAt != joined.Tokens.RTC.ExpiresAt || !given.Complete || len(given.WaitingFor) != 0 {
		t.Errorf("answered %+v, the tokens end at %d", given, joined.Tokens.RTC.ExpiresAt)
	}

	shut := func(n *apptest.Node) {
		t.Helper()
		s := n.Dial()
		s.Send(join)
		if refused := s.Expect("error"); refused.Code != "forbidden" {
			t.Errorf("joined: %+v", refused)
		}
		s.Closed(protocol.CloseForbidden)
		s = n.Dial()
		s.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
		if ended := s.Expect("ended"); ended.Reason != "revoked" {
			t.Errorf("resumed: %+v", ended)
		}
		s.Closed(protocol.CloseEnded)
		if answer, text := n.Do(http.MethodPost, "/v1/sessions/"+joined.Session+"/renew", "", "Authorization", "Bearer "+joined.Key); answer.StatusCode != http.StatusGone {
			t.Errorf("renewed: %d %s", answer.StatusCode, text)
		}
	}
	shut(a)
	shut(b)
	a.Stop()
	b.Stop()
	c := begin() // all nodes that knew of the revocation have stopped; only Redis still has it
	shut(c)
	if answer, text := c.Do(http.MethodDelete, "/v1/revocations/"+given.ID, "", "Authorization", "Bearer "+admin); answer.StatusCode != http.StatusOK {
		t.Errorf("lifted: %d %s", answer.StatusCode, text)
	}
	s = c.Dial()
	s.Send(join)
	s.Expect("joined")
}

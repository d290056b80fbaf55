//go:build !race

package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

// With auth "none", the node refuses requests with a foreign Host: a web page whose host name resolves to the loopback
// address could otherwise reach the node.
func TestOnlyLocalhostIsServedWithoutCredentials(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for host, status := range map[string]int{
		"localhost": http.StatusOK, "127.0.0.1:1": http.StatusOK, "[::1]": http.StatusOK,
		"evil.example": http.StatusMisdirectedRequest, "localhost.evil.example": http.StatusMisdirectedRequest, "0.0.0.0:8080": http.StatusMisdirectedRequest,
	} {
		if got, _ := n.Do(http.MethodGet, "/ping", "", "Host", host); got.StatusCode != status {
			t.Errorf("%s: %d, want %d", host, got.StatusCode, status)
		}
	}
	if r, _ := n.Do(http.MethodPost, "/anything", "", "Origin", "https://evil.example"); r.StatusCode != http.StatusForbidden {
		t.Errorf("a change, from another origin: %d", r.StatusCode)
	}
}

// A closing page of another origin sends its resume key as text/plain, since browsers send this type without a
// preflight.
func TestRenewAndLeaveOverHTTP(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.AllowedOrigins = []string{"https://app.example"} })
	s := n.Dial()
	s.Send(apptest.JoinText)
	joined := s.Expect(protocol.TypeJoined)
	path := "/v1/sessions/" + joined.Session
	_, text := n.Do(http.MethodPost, path+"/renew", "", "Authorization", "Bearer "+joined.Key)
	if m := apptest.DecodeMessage(t, text); m.Type != protocol.TypeWillExpire || m.Seq != 2 || m.Tokens.RTC == nil || m.Tokens.RTM == nil {
		t.Errorf("renewed %s", text)
	}
	leave := fmt.Sprintf(`{"key":%q}`, joined.Key)
	r, _ := n.Do(http.MethodPost, path+"/leave", leave, "Content-Type", "text/plain;charset=UTF-8", "Origin", "https://app.example")
	if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("left: %d %v", r.StatusCode, r.Header)
	}
	if m := s.Expect(protocol.TypeEnded); m.Reason != "left" {
		t.Errorf("told %+v", m)
	}
	s.Closed(protocol.CloseLeft)
	r, text = n.Do(http.MethodPost, path+"/renew", "", "Authorization", "Bearer "+joined.Key)
	if r.StatusCode != http.StatusGone || !strings.Contains(text, `"reason":"left"`) {
		t.Errorf("after the end: %d %s", r.StatusCode, text)
	}
}

// An operator changes a session by a request to a node that does not own the session. The change is still in effect
// after all nodes were replaced.
func TestOperatorsChangeASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, nil)
		l := s.Join(1, s.User, apptest.PublisherWants)
		publishes := func(token string) bool {
			opens, err := apptest.ServicesOf(token)
			return err != nil || opens == apptest.V007(apptest.RTC("c", "7", 1, 2, 3, 4))
		}
		var answer struct {
			Applied, Pushed, Stored bool
			Role, Node, Note        string
			AccessEndsAt            session.UnixSec
		}
		began := time.Now()
		s.Order(0, http.MethodPatch, "/v1/sessions/"+l.Session, `{"rtc":{"role":"subscriber"}}`, &answer)
		push := l.Await("token-privilege-will-expire")
		if !answer.Applied || !answer.Pushed || !answer.Stored || answer.Role != "subscriber" || answer.Note != "" || answer.Node != s.Nodes[1].App.Node() {
			t.Errorf("answered %+v", answer)
		}
		if push.Cause != "role" || push.At.Sub(began) > time.Second || publishes(push.Tokens.RTC.Token) {
			t.Errorf("pushed %+v", push)
		}
		time.Sleep(time.Second) // bubble
		var view struct {
			RTC       struct{ Role string }
			Confirmed bool
		}
		s.Order(0, http.MethodGet, "/v1/sessions/"+l.Session, "", &view)
		if view.RTC.Role != "subscriber" || !view.Confirmed {
			t.Errorf("shown as %+v", view)
		}
		l.HangUp()
		s.RestartAll()
		l = s.Open(s.Nodes[0].Address, l.ResumeMessage())
		if joined := l.Joined(); publishes(joined.Tokens.RTC.Token) {
			t.Error("resumed as a publisher with an older key")
		}

		s.Order(1, http.MethodDelete, "/v1/sessions/"+l.Session, "", &answer)
		ended := l.Await("ended")
		if !answer.Applied || !answer.Stored || answer.AccessEndsAt != l.Ends() || ended.Reason != "revoked" || ended.AccessEndsAt != l.Ends() {
			t.Errorf("answered %+v, told %+v, the tokens end at %d", answer, ended, l.Ends())
		}
		s.RestartAll()
		s.Refusals(4, s.User, l, []apptest.Way{apptest.Resume, apptest.Renew})
		s.AllOK(s.User, []apptest.Way{apptest.JoinRTC("c", 7)})
		if answer, text := s.Ask(0, s.Admin, http.MethodDelete, "/v1/sessions/"+l.Session, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("ended again: %d %s", answer.StatusCode, text)
		}
	})
}

// A session keeps the token format that its join requested. It keeps the format when tokens are renewed, also over
// HTTP, and after a resume on a node that has another default format and cannot reach the store.
func TestTokenFormatOfSessions(t *testing.T) {
	single := apptest.V007(apptest.RTC("c", "7", 1, 2, 3, 4), apptest.RTM("ana", 1))
	for wanted, want := range map[string][2]apptest.Opens{
		`"006"`:        {apptest.V006(apptest.RTC("", "", 1, 2, 3, 4)), apptest.V006(apptest.RTM("", 1000))},
		`"007-single"`: {single, single},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := apptest.NewCluster(t, 2, func(i int, c *app.Config) {
				if i == 0 && wanted == `"006"` { // the credential does not grant 006, so the join needs a node with the default 006
					c.Policy.DefaultFormat = session.Format006
				}
			})
			check := func(what string, tokens protocol.Tokens) {
				t.Helper()
				rtc, err1 := apptest.ServicesOf(tokens.RTC.Token)
				rtm, err2 := apptest.ServicesOf(tokens.RTM.Token)
				if got := [2]apptest.Opens{rtc, rtm}; got != want {
					t.Errorf("%s, %s: %v (%v, %v), want %v", wanted, what, got, err1, err2, want)
				}
			}
			l := s.Open(s.Nodes[0].Address, apptest.JoinMessage(s.User, `"tokenFormat":`+wanted+`,"ttl":600,`+apptest.PublisherWants+`,"rtm":{"userId":"ana"}`))
			check("joined", l.Joined().Tokens)
			check("renewed", l.Await("token-privilege-will-expire").Tokens)
			s.Away.Store(true)
			l.HangUp()
			again := s.Open(s.Nodes[1].Address, l.ResumeMessage())
			check("resumed", again.Joined().Tokens)
			check("renewed elsewhere", again.Await("token-privilege-will-expire").Tokens)
			_, text := s.Ask(0, again.Key, http.MethodPost, "/v1/sessions/"+again.Session+"/renew", "")
			check("renewed over HTTP", apptest.DecodeMessage(t, text).Tokens)
		})
	}
}

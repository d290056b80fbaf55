package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
	"refresher/test/redistest"
)

func TestLeaveOverHTTP(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.AllowedOrigins = []string{"https://app.example"} })
	for name, leave := range map[string]func(key string) (body string, headers []string){
		"the key in the body": func(key string) (string, []string) { // browsers send this type without a preflight
			return fmt.Sprintf(`{"key":%q}`, key), []string{"Content-Type", "text/plain;charset=UTF-8", "Origin", "https://app.example"}
		},
		"with what the client has":  func(key string) (string, []string) { return fmt.Sprintf(`{"key":%q,"seq":1,"expiresAt":1}`, key), nil },
		"the key in a header":       func(key string) (string, []string) { return "", []string{"Authorization", "Bearer " + key} },
		"an empty object, a header": func(key string) (string, []string) { return "{}", []string{"Authorization", "bearer " + key} },
	} {
		t.Run(name, func(t *testing.T) {
			s := n.Dial()
			s.Send(apptest.JoinText)
			joined := s.Expect(protocol.TypeJoined)
			path := "/v1/sessions/" + joined.Session + "/leave"
			body, headers := leave(joined.Key)
			for range 2 { // the second leave finds an ended session
				response, text := n.Do(http.MethodPost, path, body, headers...)
				if response.StatusCode != http.StatusNoContent || text != "" {
					t.Fatalf("%d %s", response.StatusCode, text)
				}
				if got := response.Header.Get("Access-Control-Allow-Origin"); (got != "") != (len(headers) == 4) {
					t.Errorf("Access-Control-Allow-Origin %q", got)
				}
				if got := response.Header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
					t.Errorf("Cache-Control %q", got)
				}
			}
			if ended := s.Expect(protocol.TypeEnded); ended.Reason != "left" {
				t.Errorf("the connection was told %+v", ended)
			}
			s.Closed(protocol.CloseLeft)
			response, text := n.Do(http.MethodPost, "/v1/sessions/"+joined.Session+"/renew", "", "Authorization", "Bearer "+joined.Key)
			if response.StatusCode != http.StatusGone || !strings.Contains(text, `"reason":"left"`) {
				t.Errorf("its key: %d %s", response.StatusCode, text)
			}
		})
	}
}

func TestLeaveOverHTTPIsRefused(t *testing.T) {
	n := apptest.StartNode(t, nil)
	s := n.Dial()
	s.Send(apptest.JoinText)
	joined := s.Expect(protocol.TypeJoined)
	path := "/v1/sessions/" + joined.Session + "/leave"
	for name, c := range map[string]struct {
		path, body, auth string
		status           int
	}{
		"no key":                {path, "", "", http.StatusUnauthorized},
		"an empty key":          {path, `{"key":""}`, "", http.StatusUnauthorized},
		"another scheme":        {path, "", "Basic " + joined.Key, http.StatusUnauthorized},
		"a wrong key":           {path, `{"key":"x"}`, "", http.StatusNotFound},
		"another session":       {"/v1/sessions/X/leave", fmt.Sprintf(`{"key":%q}`, joined.Key), "", http.StatusNotFound},
		"a body that is none":   {path, "{", "Bearer " + joined.Key, http.StatusBadRequest},
		"a key that is no text": {path, `{"key":1}`, "", http.StatusBadRequest},
		"a body too long":       {path, strings.Repeat(" ", 9<<10), "Bearer " + joined.Key, http.StatusBadRequest},
		"an absurd seq":         {path, fmt.Sprintf(`{"key":%q,"seq":9007199254740993}`, joined.Key), "", http.StatusBadRequest},
	} {
		response, text := n.Do(http.MethodPost, c.path, c.body, "Authorization", c.auth)
		if response.StatusCode != c.status || !strings.Contains(text, `"error":`) {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
		if strings.Contains(text, joined.Key) {
			t.Errorf("%s: the answer repeats the key", name)
		}
	}
	newer := n.Dial()
	newer.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
	again := newer.Expect(protocol.TypeJoined)
	newer.Send(fmt.Sprintf(`{"type":"ack","seq":%d}`, again.Seq))
	newer.Send(`{"type":"ping"}`)
	newer.Expect(protocol.TypePong)
	response, text := n.Do(http.MethodPost, path, fmt.Sprintf(`{"key":%q}`, joined.Key))
	if response.StatusCode != http.StatusGone || !strings.Contains(text, `"reason":"superseded"`) {
		t.Errorf("an older key: %d %s", response.StatusCode, text)
	}
	newer.Send(`{"type":"ping"}`)
	newer.Expect(protocol.TypePong)
}

// Two real nodes share a real Redis: a client can leave through either node, with or without an open
// connection.
func TestLeaveOverHTTPByAnotherNode(t *testing.T) {
	server := redistest.Start(t)
	begin := func() *apptest.Node {
		return apptest.StartNode(t, func(c *app.Config) { c.Redis.URL = server.URL() })
	}
	a, b := begin(), begin()
	wantLeft := func(n *apptest.Node, joined apptest.Message) {
		t.Helper()
		back := n.Dial()
		back.Send(fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":1}`, joined.Session, joined.Key))
		if ended := back.Expect(protocol.TypeEnded); ended.Reason != "left" {
			t.Errorf("resumed: %+v", ended)
		}
	}
	var left []apptest.Message
	for _, connected := range []bool{true, false} {
		s := a.Dial()
		s.Send(apptest.JoinText)
		joined := s.Expect(protocol.TypeJoined)
		if !connected {
			_ = s.CloseNow()
		}
		body := fmt.Sprintf(`{"key":%q,"seq":1,"expiresAt":%d}`, joined.Key, joined.Tokens.RTC.ExpiresAt)
		if response, text := b.Do(http.MethodPost, "/v1/sessions/"+joined.Session+"/leave", body); response.StatusCode != http.StatusNoContent {
			t.Fatalf("connected %t: %d %s", connected, response.StatusCode, text)
		}
		if connected {
			// The node with the connection learns of the new owner, or directly of the session's end.
			if told, code := s.Next(); told.Reason != "left" && code != protocol.CloseLost {
				t.Errorf("the connection was told %+v, closed with %d", told, code)
			}
		}
		wantLeft(b, joined)
		left = append(left, joined)
	}
	b.Stop() // Stop returns after the node has written the ended sessions to Redis
	c := begin()
	for _, joined := range left {
		wantLeft(c, joined)
	}
}

package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

func TestRenewOverHTTP(t *testing.T) {
	n := apptest.StartNode(t, nil)
	s := n.Dial()
	s.Send(apptest.JoinText)
	joined := s.Expect(protocol.TypeJoined)
	path := "/v1/sessions/" + joined.Session + "/renew"

	response, text := n.Do(http.MethodPost, path, "", "Authorization", "Bearer "+joined.Key)
	var renewed apptest.Message
	if err := json.Unmarshal([]byte(text), &renewed); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", response.StatusCode, text)
	}
	if renewed.Type != protocol.TypeWillExpire || renewed.Seq != 2 || renewed.Action != "renew" || renewed.Cause != "renew" ||
		renewed.Tokens.RTC == nil || renewed.Tokens.RTM == nil || renewed.Tokens.Chat != nil {
		t.Errorf("renewed %+v", renewed)
	}
	_, text = n.Do(http.MethodPost, path, `{"seq":2}`, "Authorization", "bearer "+joined.Key)
	if err := json.Unmarshal([]byte(text), &renewed); err != nil || renewed.Seq != 3 {
		t.Errorf("renewed again %s", text)
	}
	for name, c := range map[string]struct {
		path, body, auth string
		status           int
	}{
		"no key":                {path, "", "", http.StatusUnauthorized},
		"another scheme":        {path, "", "Basic " + joined.Key, http.StatusUnauthorized},
		"a wrong key":           {path, "", "Bearer x", http.StatusNotFound},
		"another session":       {"/v1/sessions/X/renew", "", "Bearer " + joined.Key, http.StatusNotFound},
		"a body that is none":   {path, "{", "Bearer " + joined.Key, http.StatusBadRequest},
		"a body that is a list": {path, "[]", "Bearer " + joined.Key, http.StatusBadRequest},
		"a body too long":       {path, strings.Repeat(" ", 9<<10), "Bearer " + joined.Key, http.StatusBadRequest},
		"too long, by nobody":   {path, strings.Repeat(" ", 9<<10), "Bearer x", http.StatusNotFound},
		"an absurd seq":         {path, `{"seq":9007199254740993}`, "Bearer " + joined.Key, http.StatusBadRequest},
	} {
		response, text := n.Do(http.MethodPost, c.path, c.body, "Authorization", c.auth)
		if response.StatusCode != c.status || !strings.Contains(text, `"error":`) {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
		if strings.Contains(text, joined.Key) {
			t.Errorf("%s: the answer repeats the key", name)
		}
		if strings.Contains(text, "api.") {
			t.Errorf("%s: the answer names a type of the program: %s", name, text)
		}
	}
	s.Send(`{"type":"leave"}`)
	s.Expect(protocol.TypeEnded)
	response, text = n.Do(http.MethodPost, path, "", "Authorization", "Bearer "+joined.Key)
	end := fmt.Sprintf(`"reason":"left","accessEndsAt":%d}`, joined.Tokens.RTC.ExpiresAt)
	if response.StatusCode != http.StatusGone || !strings.HasSuffix(text, end) {
		t.Errorf("after the end: %d %s, want %s", response.StatusCode, text, end)
	}
}

// With auth "none", the node refuses requests with a foreign Host: a web page whose host name
// resolves to the loopback address could otherwise reach it.
func TestOnlyLocalhostIsServedWithoutCredentials(t *testing.T) {
	n := apptest.StartNode(t, nil)
	for host, status := range map[string]int{
		"localhost": http.StatusOK, "LOCALHOST:8080": http.StatusOK, "127.0.0.1:1": http.StatusOK, "[::1]:80": http.StatusOK, "[::1]": http.StatusOK,
		"evil.example": http.StatusMisdirectedRequest, "evil.example:8080": http.StatusMisdirectedRequest,
		"localhost.evil.example": http.StatusMisdirectedRequest, "10.0.0.1": http.StatusMisdirectedRequest, "0.0.0.0:8080": http.StatusMisdirectedRequest,
	} {
		if got, _ := n.Do(http.MethodGet, "/ping", "", "Host", host); got.StatusCode != status {
			t.Errorf("%s: %d, want %d", host, got.StatusCode, status)
		}
	}
}

func TestSessionIsFoundAsSoonAsItIsJoined(t *testing.T) {
	n := apptest.StartNode(t, nil)
	s := n.Dial()
	s.Send(apptest.JoinText)
	joined := s.Expect(protocol.TypeJoined) // the session's record is written to the store a moment later
	if response, text := n.Do(http.MethodDelete, "/v1/sessions/"+joined.Session, ""); response.StatusCode != http.StatusOK {
		t.Errorf("%d %s", response.StatusCode, text)
	}
	s.Expect(protocol.TypeEnded)
}

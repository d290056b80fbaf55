package app_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/hook/hooktest"
)

// The back end receives signed events about a session from its join to its end.
func TestEventsReachTheBackEnd(t *testing.T) {
	const secret, previous = "whsec_wP/uwP/uwP/uwP/uwP/uwP/uwP/uwP/u", "a secret of the back end's"
	type told struct {
		Type, ID, App, Session, Reason, Node string
		RTC                                  struct{ Channel string }
	}
	news := make(chan told, 10)
	backEnd := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = errors.Join(hooktest.Verify(secret, r.Header, body), hooktest.Verify(previous, r.Header, body))
		}
		var e told
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil {
			t.Error(err)
		}
		news <- e
	}))
	defer backEnd.Close()
	n := apptest.StartNode(t, func(c *app.Config) {
		c.Events.URL, c.Events.Secret, c.Events.PreviousSecret = backEnd.URL, secret, previous
	})
	s := n.Dial()
	s.Send(`{"type":"join","rtc":{"channel":"c","uid":1}}`)
	joined := s.Expect("joined")
	s.Send(`{"type":"leave"}`)
	s.Expect("ended")
	for _, want := range []told{
		{Type: "session.joined", ID: joined.Session + "-joined"},
		{Type: "session.ended", ID: joined.Session + "-ended", Reason: "left"},
	} {
		got := <-news
		if got.Type != want.Type || got.ID != want.ID || got.Reason != want.Reason || got.App != apptest.AppID || got.Session != joined.Session || got.Node == "" || got.RTC.Channel != "c" {
			t.Errorf("told %+v, want %+v", got, want)
		}
	}
}

// Each error about a setting names its flag.
func TestSettingsOfOthersAreChecked(t *testing.T) {
	for name, change := range map[string]func(*app.Config){
		"events-url: ":     func(c *app.Config) { c.Events.URL, c.Events.Secret = "nowhere", "a secret of many more bytes" },
		"events-secret: ":  func(c *app.Config) { c.Events.URL = "http://127.0.0.1:1" },
		"events-secret: s": func(c *app.Config) { c.Events.Secret = "a secret of many more bytes" },
		"events-previous-secret: w": func(c *app.Config) {
			c.Events.URL, c.Events.Secret, c.Events.PreviousSecret = "http://127.0.0.1:1", "a secret of many more bytes", "short"
		},
		"events-previous-secret: s": func(c *app.Config) { c.Events.PreviousSecret = "a secret of many more bytes" },
		"authorize-timeout: ":       func(c *app.Config) { c.Authorize.Timeout = -1 },
		"redis-url: ":               func(c *app.Config) { c.Redis.URL = "localhost:6379" },
		"redis-prefix: ":            func(c *app.Config) { c.Redis.URL, c.Redis.Prefix = "redis://127.0.0.1:1", "a{b}" },
		"redis-ca-file: ":           func(c *app.Config) { c.Redis.URL, c.Redis.CAFile = "rediss://127.0.0.1:1", "/nowhere" },
	} {
		c := apptest.Config()
		change(&c)
		if _, err := app.New(c, apptest.Quiet); err == nil || len(err.Error()) < len(name) || err.Error()[:len(name)] != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

func TestBasePath(t *testing.T) {
	for _, setting := range []string{"/agora/refresher", "/agora/refresher/"} {
		n := apptest.StartNode(t, func(c *app.Config) { c.BasePath = setting })
		for path, want := range map[string]int{
			"/agora/refresher/ping":                       http.StatusOK,
			"/agora/refresher/rtc/c/publisher/uid/7":      http.StatusOK,
			"/agora/refresher/rtc/c/publisher/uid/7/":     http.StatusOK,
			"/agora/refresher/rtc/a%20b/publisher/uid/7/": http.StatusOK,
			"/agora/refresher/v1/sessions":                http.StatusOK,
			"/agora/refresher/v1/ws":                      http.StatusUpgradeRequired,
			"/agora/refresher":                            http.StatusOK,
			"/agora/refresher/":                           http.StatusOK,
			"/":                                           http.StatusOK, // health checks of load balancers use "/"
			"/ping":                                       http.StatusOK,
			"/v1/ws":                                      http.StatusNotFound,
			"/v1/sessions":                                http.StatusNotFound,
			"/rtc/c/publisher/uid/7":                      http.StatusNotFound,
			"/agora/rtc/c/publisher/uid/7":                http.StatusNotFound,
			"/agora/refresherx/rtm/ana":                   http.StatusNotFound,
			"/agora/refresher/agora/refresher/rtm/ana":    http.StatusNotFound,
			"/agora/Refresher/rtm/ana":                    http.StatusNotFound,
			"/agora%2Frefresher/rtm/ana":                  http.StatusNotFound,
		} {
			got, text := n.Do(http.MethodGet, path, "")
			if got.StatusCode != want {
				t.Errorf("%s at %s: %d %s, want %d", setting, path, got.StatusCode, text, want)
			}
			if outside := !strings.HasPrefix(path, "/agora/refresher/"); want == http.StatusNotFound && outside != strings.Contains(text, "under /agora/refresher/") {
				t.Errorf("%s at %s: %s", setting, path, text)
			}
		}
		c, _, err := websocket.Dial(t.Context(), "ws://"+n.App.Addr().String()+"/agora/refresher/v1/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		s := apptest.NewSocket(t, c)
		s.Send(apptest.JoinText)
		s.Expect(protocol.TypeJoined)
		_ = c.CloseNow()
		n.Stop()
	}
}

// The page has relative links, so a URL without a trailing slash is redirected to one with it.
func TestPageUnderBasePath(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) {
		c.BasePath = "/try"
		c.Page = func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "the page at "+r.URL.Path) })
		}
	})
	for path, want := range map[string]string{"/try/": "/", "/try/demo/edge": "/demo/edge"} {
		if r, text := n.Do(http.MethodGet, path, ""); r.StatusCode != http.StatusOK || text != "the page at "+want {
			t.Errorf("%s: %d %s", path, r.StatusCode, text)
		}
	}
	if r, _ := n.Do(http.MethodGet, "/try", ""); r.StatusCode != http.StatusPermanentRedirect || r.Header.Get("Location") != "/try/" {
		t.Errorf("without its slash: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if r, text := n.Do(http.MethodGet, "/demo/edge", ""); r.StatusCode != http.StatusNotFound {
		t.Errorf("outside: %d %s", r.StatusCode, text)
	}
}

// The health check on the public port says whether the node is ready, but not why.
func TestReadinessOnThePublicPort(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.AddressRate, c.DrainWindow = 0.001, time.Minute })
	for range 20 { // more often than AddressRate allows
		if r, text := n.Do(http.MethodGet, "/", ""); r.StatusCode != http.StatusOK || text != `{"status":"ready"}` {
			t.Fatalf("%d %s", r.StatusCode, text)
		}
	}
	if r, _ := n.Do(http.MethodHead, "/", ""); r.StatusCode != http.StatusOK {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
	s := n.Dial()
	s.Send(apptest.JoinText)
	s.Expect(protocol.TypeJoined)
	go n.Stop()
	s.Expect(protocol.TypeReconnect) // Stop now waits until the client has disconnected
	r, text := n.Do(http.MethodGet, "/", "")
	if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, `"code":"unavailable"`) || strings.Contains(text, "drain") {
		t.Errorf("%d %s", r.StatusCode, text)
	}
	if r, _ := n.Do(http.MethodGet, "/ping", ""); r.StatusCode != http.StatusOK {
		t.Errorf("ping: %d", r.StatusCode)
	}
}

package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func echo(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name+" "+r.URL.Path) })
}

func TestPaths(t *testing.T) {
	plain := func(*Config) {}
	under := func(c *Config) { c.BasePath, c.WebSocket = "/a/calls", echo("socket") }
	withSlash := func(c *Config) { c.BasePath = "/a/calls/" }
	page := func(c *Config) { c.Page = echo("page") }
	pageUnder := func(c *Config) { c.BasePath, c.Page = "/try", echo("page") }
	inPath := func(c *Config) { c.CredentialInPath = true }
	busy := func(c *Config) { c.Access = crowded{} }
	notReady := func(c *Config) { c.Ready = func() bool { return false } }
	const rtc = "/rtc/c/publisher/uid/7"
	for _, c := range []struct {
		request string
		change  func(*Config)
		status  int
		want    string
	}{
		{"GET /ping", plain, 200, `{"message":"pong"}`},
		{"GET /ping/", plain, 200, `{"message":"pong"}`},
		{"HEAD /ping", plain, 200, ""},
		{"DELETE /ping", plain, 405, "want GET"},
		{"POST " + rtc, plain, 405, "want GET"},
		{"GET /getToken", plain, 405, "want POST"},
		{"GET /rtc", plain, 404, "no such endpoint"},
		{"GET /rtc/c/publisher/uid", plain, 404, "no such endpoint"},
		{"GET /index.html", plain, 404, "no such endpoint"},
		{"GET /rtm/ana?expiry=60;x=1", plain, 400, "query: not well formed"},
		{"GET /rtm/ana?a=%3B&&expiry=60", plain, 200, ""},
		{"GET /rtm/ana", inPath, 200, ""},
		{"GET /v1/ws", plain, 426, "connect to it by a WebSocket client"},

		// The health check does not say why a node is not ready, and has no rate limit.
		{"GET /", busy, 200, `{"status":"ready"}`},
		{"HEAD /", plain, 200, ""},
		{"GET /", notReady, 503, "this node accepts no calls now"},
		{"GET /ping", notReady, 200, ""},
		{"GET /rtm/ana", busy, 429, "too many requests"},

		{"GET /a/calls" + rtc, under, 200, ""},
		{"GET /a/calls" + rtc + "/", under, 200, ""},
		{"GET /a/calls" + rtc + "/", withSlash, 200, ""},
		{"GET /a/calls/rtc/a%2Fb/publisher/uid/7", under, 200, "a/b"},
		{"GET /a/calls", under, 200, "ready"},
		{"GET /a/calls/", under, 200, "ready"},
		{"GET /a/calls/v1/ws", under, 426, ""},
		{"GET /", under, 200, "ready"}, // health checks of load balancers request "/", whatever the base path is
		{"GET /ping", under, 200, "pong"},
		{"GET /v1/ws", under, 404, "under /a/calls/"},
		{"GET " + rtc, under, 404, "under /a/calls/"},
		{"GET /a" + rtc, under, 404, "under /a/calls/"},
		{"GET /a/callsx/rtm/ana", under, 404, "under /a/calls/"},
		{"GET /a/calls/a/calls/rtm/ana", under, 404, "no such endpoint"},
		{"GET /a%2Fcalls/rtm/ana", under, 404, "under /a/calls/"},

		// An app may append /rtc/… to a base URL with a trailing slash, but //v1 could evade a proxy's rule for /v1.
		{"GET /a/calls//rtm/ana", under, 200, ""},
		{"GET /a/calls///rtm/ana", under, 200, ""},
		{"GET /a/calls//v1/sessions", under, 404, ""},
		{"GET /a/calls/v1//sessions", under, 404, ""},
		{"GET //a/calls/rtm/ana", under, 404, ""},

		{"GET /", page, 200, "page /"},
		{"GET /v1/nothing", page, 200, "page /v1/nothing"},
		{"GET /ping", page, 200, "pong"},
		{"GET /try/demo/edge", pageUnder, 200, "page /demo/edge"},
		{"GET /try", pageUnder, 308, ""},
		{"GET /demo/edge", pageUnder, 404, "under /try/"},
	} {
		conf := config(t)
		c.change(&conf)
		w := answer(t, conf, c.request, "Authorization", "Bearer user")
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.request, w.Code, w.Body, c.status, c.want)
		}
		if allow := w.Header().Get("Allow"); (c.status == http.StatusMethodNotAllowed) != strings.HasSuffix(allow, ", OPTIONS") {
			t.Errorf("%s: Allow %q", c.request, allow)
		}
		if to := w.Header().Get("Location"); c.status == http.StatusPermanentRedirect && to != "/try/" {
			t.Errorf("%s: to %q", c.request, to)
		}
	}
	conf := config(t)
	under(&conf)
	if w := answer(t, conf, "GET /a/calls/v1/ws", "Upgrade", "websocket"); w.Body.String() != "socket /a/calls/v1/ws" {
		t.Errorf("a handshake: %d %s", w.Code, w.Body)
	}
}

// Only the endpoints of the classic token servers accept a credential in the path. The credential must be a user's, not
// an operator's, and must expire within an hour.
func TestCredentialInPath(t *testing.T) {
	const rtc = "/rtc/daily/publisher/uid/7"
	for _, c := range []struct {
		request, header string
		status          int
	}{
		{"GET /with/user" + rtc, "", 200},
		{"GET /with/user" + rtc + "/", "", 200},
		{"GET /with/user//rtc/a!b:c/publisher/uid/8?expiry=60", "", 200},
		{"HEAD /with/user/rtm/ana", "", 200},
		{`POST /with/user/getToken {"tokenType":"rtm","uid":"ana"}`, "", 200},
		{"OPTIONS /with/user/getToken", "", 204},
		{"GET /with/operator" + rtc, "", 403},
		{"GET /with/long-lived" + rtc, "", 403},
		{"GET /with/nonsense" + rtc, "", 401},
		{"GET /with/" + rtc, "", 401},
		{"GET /with/user" + rtc, "Bearer user", 400},
		{"GET /with/user" + rtc, "Basic eDp5", 400},
		{"POST /with/user" + rtc, "", 405},
		{"GET /with/user/ping", "", 404},
		{"GET /with/user/", "", 404},
		{"GET /with/user", "", 404},
		{"GET /with/user/v1/ws", "", 404},
		{"GET /with/user/v1/sessions", "", 404},
		{"GET /with/user//v1/sessions", "", 404},
		{"POST /with/user/v1/sessions/S/renew", "", 404},
		{"GET /with/user/with/user" + rtc, "", 404},
	} {
		for base, change := range map[string]func(*Config){
			"":       func(c *Config) { c.CredentialInPath = true },
			"/calls": func(c *Config) { c.CredentialInPath, c.BasePath = true, "/calls" },
		} {
			conf := config(t)
			change(&conf)
			w := answer(t, conf, strings.Replace(c.request, " ", " "+base, 1), "Authorization", c.header)
			if w.Code != c.status || w.Header().Get("Referrer-Policy") != "no-referrer" || !strings.Contains(w.Header().Get("Cache-Control"), "no-store") {
				t.Errorf("%s under %q: %d %s %v, want %d", c.request, base, w.Code, w.Body, w.Header(), c.status)
			}
		}
	}
	if w := answer(t, config(t), "GET /with/user"+rtc); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `"no such endpoint"`) {
		t.Errorf("by default: %d %s", w.Code, w.Body)
	}
}

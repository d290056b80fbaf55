package demo

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"refresher/web/demo/edge"
)

func serve(t *testing.T, d *Demo) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(d.Handler(metrics))
	t.Cleanup(server.Close)
	return server
}

// socket is the WebSocket from a page to the demo's simulated edge.
type socket struct {
	*websocket.Conn
	t *testing.T
}

// dial returns a nil socket if the handshake is refused, and the status and header of the answer.
func dial(t *testing.T, server *httptest.Server, origin string) (*socket, int, http.Header) {
	t.Helper()
	o := &websocket.DialOptions{HTTPHeader: http.Header{}}
	if origin != "" {
		o.HTTPHeader.Set("Origin", origin)
	}
	c, r, err := websocket.Dial(t.Context(), server.URL+"/demo/edge", o)
	if r == nil {
		t.Fatal(err)
	}
	if err != nil {
		return nil, r.StatusCode, r.Header
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return &socket{c, t}, r.StatusCode, r.Header
}

func mustDial(t *testing.T, server *httptest.Server) *socket {
	t.Helper()
	s, status, _ := dial(t, server, server.URL)
	if s == nil {
		t.Fatalf("refused with %d", status)
	}
	return s
}

func (s *socket) say(frame string) {
	s.t.Helper()
	if err := s.Write(s.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

// hear reads a text frame, which must have one line of JSON.
func (s *socket) hear() map[string]any {
	s.t.Helper()
	kind, frame, err := s.Read(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(frame, &line); err != nil || kind != websocket.MessageText || strings.Contains(string(frame), "\n") {
		s.t.Fatalf("%v %q: %v", kind, frame, err)
	}
	return line
}

func (s *socket) join(token string) map[string]any {
	s.t.Helper()
	line, err := json.Marshal(map[string]any{"op": "join", "leg": "rtc", "channel": "room", "user": "7", "token": token, "id": 1})
	if err != nil {
		s.t.Fatal(err)
	}
	s.say(string(line))
	return s.hear()
}

func TestEdgeAdmitsByTheToken(t *testing.T) {
	d := newDemo(t, nil)
	page := mustDial(t, serve(t, d))
	if got := page.join(token(t, strings.Repeat("0", 32), time.Minute)); got["ok"] != false || got["code"] != 110.0 {
		t.Errorf("forged: %v", got)
	}
	if diff := cmp.Diff(map[string]any{"id": 1.0, "ok": true, "publish": true}, page.join(token(t, testCert, time.Hour))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	renewed, err := json.Marshal(map[string]any{"op": "renew", "leg": "rtc", "token": token(t, testCert, 25*time.Second), "id": 2})
	if err != nil {
		t.Fatal(err)
	}
	page.say(string(renewed) + "\n") // a newline at the end of a text frame does not begin a second line
	if got := page.hear(); got["ok"] != true || got["id"] != 2.0 {
		t.Errorf("renewed: %v", got)
	}
	// The token lives for less time than WarnBefore, so the warning comes at once.
	if diff := cmp.Diff(map[string]any{"event": "token-privilege-will-expire", "leg": "rtc"}, page.hear()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if total := d.config.Edge.Record().Total; total.RenewalsAccepted != 1 || total.JoinsRefused != 1 {
		t.Errorf("%+v", total)
	}
}

// Pages of the service's own origin and of the origins that it allows reach the edge. The service names an allowed
// origin in the header of its answer.
func TestEdgeIsForPagesOfAllowedOrigins(t *testing.T) {
	handler := newDemo(t, nil).Handler(metrics)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin == "https://app.example.com" {
			w.Header().Set("Access-Control-Allow-Origin", origin)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for origin, want := range map[string]int{
		server.URL: http.StatusSwitchingProtocols, "https://app.example.com": http.StatusSwitchingProtocols,
		"":                     http.StatusSwitchingProtocols, // without the header Origin, so not from a web page
		"https://evil.example": http.StatusForbidden, "http://127.0.0.1:1": http.StatusForbidden, "null": http.StatusForbidden,
	} {
		if _, status, _ := dial(t, server, origin); status != want {
			t.Errorf("%s: %d, want %d", origin, status, want)
		}
	}
}

func TestFramesThatAreNoLines(t *testing.T) {
	page := mustDial(t, serve(t, newDemo(t, nil)))
	for _, frame := range []string{"", "\n", "hello", "{}", `{"op":"join"`, strings.Repeat("x", edge.MaxLine)} {
		page.say(frame)
		if got := page.hear(); got["ok"] != false || got["code"] != 2.0 {
			t.Errorf("%.20q: %v", frame, got)
		}
	}
	if err := page.Write(t.Context(), websocket.MessageBinary, []byte(`{"op":"leave","leg":"rtc","id":3}`)); err != nil {
		t.Fatal(err)
	}
	if got := page.hear(); got["code"] != 2.0 || got["id"] != 0.0 {
		t.Errorf("binary: %v", got)
	}
	page.say(`{"op":"leave","leg":"rtc","id":4}`)
	if got := page.hear(); got["code"] != 113.0 || got["id"] != 4.0 {
		t.Errorf("the connection does not go on: %v", got)
	}
	page.say(strings.Repeat("x", edge.MaxLine+1))
	if _, _, err := page.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("too long a frame: %v", err)
	}
}

func TestEdgesAreCounted(t *testing.T) {
	server := serve(t, newDemo(t, func(c *Config) { c.MaxEdges = 2 }))
	page := mustDial(t, server)
	for range 5 { // refused handshakes do not count
		dial(t, server, "https://evil.example")
	}
	mustDial(t, server)
	if _, status, header := dial(t, server, server.URL); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Fatalf("a third: %d %v", status, header)
	}
	if err := page.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	for status := 0; status != http.StatusSwitchingProtocols; { // wait until the demo has noticed that the page has gone
		_, status, _ = dial(t, server, server.URL)
	}
}

func TestCloseEndsTheConnectionsAtOnce(t *testing.T) {
	d := newDemo(t, nil)
	server := serve(t, d)
	page := mustDial(t, server) // the page does not read, so it cannot answer a close frame
	if got := page.join(token(t, testCert, time.Minute)); got["ok"] != true {
		t.Fatal(got)
	}
	began := time.Now()
	d.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
	if _, _, err := page.Read(t.Context()); err == nil {
		t.Error("the connection goes on")
	}
	if total := d.config.Edge.Record().Total; total.Breaks != 1 {
		t.Errorf("its call: %+v", total)
	}
	if _, status, _ := dial(t, server, server.URL); status != http.StatusServiceUnavailable {
		t.Errorf("after that: %d", status)
	}
	d.Close() // a second Close must do no harm
}

package demo

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"refresher/internal/agora"
	"refresher/internal/session"
	"refresher/web/demo/edge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testApp  = "970CA35de60c44645bbae8a215061b33"
	testCert = "5CFd2fd1755d40ecb72977518be15d3b"
)

var quiet = slog.New(slog.DiscardHandler)

func newEdge(t *testing.T) *edge.Edge {
	t.Helper()
	e, err := edge.New(edge.Config{AppID: testApp, Certificate: testCert})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// newDemo returns a demo with a simulated edge. Both are closed at the end of the test.
func newDemo(t *testing.T, change func(*Config)) *Demo {
	t.Helper()
	c := Config{AppID: testApp, Version: "v1.2.3", TTL: 30 * time.Second, MinTTL: 10 * time.Second, MaxTTL: time.Hour, WarnBefore: 6 * time.Second, Edge: newEdge(t), Logger: quiet}
	if change != nil {
		change(&c)
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// atAgora configures a demo whose calls run through Agora.
func atAgora(c *Config) { c.Real, c.Edge = true, nil }

// metrics stands for the metrics endpoint that the service passes to Demo.Handler.
var metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "refresher_sessions 2\n")
})

// ask passes a request to the handler directly.
func (d *Demo) ask(t *testing.T, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), method, "http://127.0.0.1:8080/", strings.NewReader(""))
	r.URL.Path = path
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.Handler(metrics).ServeHTTP(w, r)
	return w
}

// token returns a publisher's token for user 7 in the channel "room".
func token(t *testing.T, certificate string, life time.Duration) string {
	t.Helper()
	minter, err := agora.NewMinter(testApp, certificate)
	if err != nil {
		t.Fatal(err)
	}
	now := session.SecOf(time.Now())
	tokens, err := minter.Mint(session.Identity{RTC: &session.RTC{Channel: "room", UID: 7, Role: session.Publisher}}, session.Format007, now, now.Add(life))
	if err != nil {
		t.Fatal(err)
	}
	return tokens.RTC
}

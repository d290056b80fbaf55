package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/hook/hooktest"
	"refresher/internal/session"
)

// approvalOnNetwork runs an Approval over real sockets until the test ends, and returns it with its log.
func approvalOnNetwork(t *testing.T, url string, change func(*Approval)) (*Approval, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	a, err := NewApproval(Config{
		URL: url, Secret: testSecret, Timeout: time.Minute,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.patience = 30 * time.Second
	if change != nil {
		change(a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		a.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-returned
	})
	return a, log
}

// A real server can verify the signatures, and each request gets its own answer.
func TestApprovalServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := hooktest.Verify(testSecret, r.Header, text); err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/ask" || r.URL.RawQuery != "t=tiger" || r.ContentLength != int64(len(text)) {
			t.Errorf("%s %s with %d bytes", r.Method, r.URL, r.ContentLength)
		}
		if user, password, _ := r.BasicAuth(); user != "scott" || password != "lion" {
			t.Errorf("user %q, password %q", user, password)
		}
		var body struct{ Requests []asks }
		if err := json.Unmarshal(text, &body); err != nil {
			t.Error(err)
		}
		said := decide(request{questions: body.Requests}, func(q asks) string {
			return fmt.Sprintf(`"allow":%t,"reason":%q`, !strings.HasSuffix(q.Session, "3"), q.Session)
		})
		_, _ = io.WriteString(w, said.body)
	}))
	defer server.Close()
	a, log := approvalOnNetwork(t, strings.Replace(server.URL, "http://", "http://scott:lion@", 1)+"/ask?t=tiger", func(a *Approval) { atOnce(a, 8, 10_000) })
	var hands sync.WaitGroup
	for hand := range 50 {
		hands.Go(func() {
			for i := range 20 {
				name := fmt.Sprintf("s%d-%d", hand, i)
				answer, err := a.Request(t.Context(), question1(session.ActionJoin, name))
				if want := (Answer{Allow: !strings.HasSuffix(name, "3"), Reason: name}); err != nil || answer != want {
					t.Errorf("%s: %+v, %v", name, answer, err)
				}
			}
		})
	}
	hands.Wait()
	if log.String() != "" {
		t.Errorf("logged %s", log)
	}
}

// No request is sent to a server whose TLS certificate is wrong.
func TestApprovalTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Requests []asks }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, decide(request{questions: body.Requests}, func(asks) string { return `"allow":true` }).body)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	known, _ := approvalOnNetwork(t, server.URL, func(a *Approval) { a.endpoint.client.Transport = server.Client().Transport })
	if answer, err := known.Request(t.Context(), question1(session.ActionJoin, "a")); err != nil || !answer.Allow {
		t.Errorf("%+v, %v", answer, err)
	}
	stranger, _ := approvalOnNetwork(t, server.URL, nil)
	if _, err := stranger.Request(t.Context(), question1(session.ActionJoin, "a")); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a stranger's answer: %v", err)
	}
}

// Neither errors nor logs contain a secret, whatever fails.
func TestApprovalSecrets(t *testing.T) {
	const user, password, query = "scott", "li%2Fon", "t=tiger&x=1"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refuses":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, r.URL.RawQuery)
		case "/breaks": // makes net/http return an error that contains the header
			w.Header().Set("Location", "http://[:"+query+"/?%zz")
			w.WriteHeader(http.StatusFound)
		case "/garbles": // makes net/http return an error that contains the answer
			socket, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(socket, user+":"+password+"\r\n\r\n")
			_ = socket.Close()
		case "/chatters":
			_, _ = io.WriteString(w, `{"`+query+`"}`)
		case "/ceases":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, query)
		}
	}))
	defer server.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for base, why := range map[string]string{
		server.URL + "/refuses":  "answered 401",
		server.URL + "/breaks":   "not shown",
		server.URL + "/garbles":  "not shown",
		server.URL + "/chatters": "not of the form",
		server.URL + "/ceases":   "unexpected EOF",
		closed.URL + "/closed":   "connection refused",
	} {
		url := strings.Replace(base, "http://", "http://"+user+":"+password+"@", 1) + "?" + query
		a, log := approvalOnNetwork(t, url, nil)
		var said strings.Builder
		for range approvalTrip + 1 { // the last request is not sent: the circuit is open
			_, err := a.Request(t.Context(), question1(session.ActionJoin, "a"))
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Fatalf("%s: %v", base, err)
			}
			said.WriteString(err.Error() + "\n")
		}
		if !strings.Contains(log.String(), "endpoint is failing") || !strings.Contains(log.String(), why) {
			t.Errorf("%s: logged %s", base, log)
		}
		for _, hidden := range []string{user, "lion", "li/on", "li%2Fon", "tiger", testSecret, "v1,"} {
			if text := log.String() + said.String(); strings.Contains(text, hidden) {
				t.Errorf("%s: %q is given away: %s", base, hidden, text)
			}
		}
	}
}

// brokenBody is a transport whose answers have a body that fails with this error text.
type brokenBody string

func (b brokenBody) Read([]byte) (int, error) { return 0, errors.New(string(b)) }
func (b brokenBody) Close() error             { return nil }

func (b brokenBody) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: b}, nil
}

// Secrets are also removed from errors that occur while the body is read.
func TestBrokenBody(t *testing.T) {
	for text, want := range map[string]string{"reset by peer": "reset by peer", "bad chunk: lion": "not shown"} {
		a, _ := approvalOnNetwork(t, "https://scott:lion@app.test", func(a *Approval) { a.endpoint.client.Transport = brokenBody(text) })
		if _, err := a.Request(t.Context(), question1(session.ActionJoin, "a")); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "lion") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

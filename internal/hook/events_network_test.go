package hook

import (
	"context"
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
)

// eventOnNetwork sends one event to url over real sockets, calls the function `until`, which waits for the event's
// outcome, ends Run, and returns the log.
func eventOnNetwork(t *testing.T, url string, change func(*Events), until func(settled <-chan bool)) string {
	t.Helper()
	log := &logBuffer{}
	s, err := NewEvents(Config{
		URL: url, Secret: testSecret,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		s.Run(ctx)
	}()
	settled := make(chan bool, 1)
	s.Send(event("s-joined"), func(delivered bool) { settled <- delivered })
	until(settled)
	cancel()
	<-returned
	return log.String()
}

// delivered returns a function that waits until the event is delivered.
func delivered(t *testing.T) func(<-chan bool) {
	return func(settled <-chan bool) {
		if !<-settled {
			t.Error("given up")
		}
	}
}

// A real server can verify the signature of an event, and its answer may be of any length.
func TestEventsServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if err := hooktest.Verify(testSecret, r.Header, body); err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/hooks" || r.URL.RawQuery != "t=tiger&x=1" || r.ContentLength != int64(len(body)) {
			t.Errorf("%s %s with %d bytes", r.Method, r.URL, r.ContentLength)
		}
		if user, password, _ := r.BasicAuth(); user != "scott" || password != "lion" {
			t.Errorf("user %q, password %q", user, password)
		}
		_, _ = io.CopyN(w, zeros{}, 10<<20)
	}))
	defer server.Close()
	eventOnNetwork(t, strings.Replace(server.URL, "http://", "http://scott:lion@", 1)+"/hooks?t=tiger&x=1", nil, delivered(t))
}

// With many senders and a full queue, settled is called exactly once for each event.
func TestManySenders(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("webhook-id"), "7-ended") {
			w.WriteHeader(http.StatusGone)
		}
	}))
	defer server.Close()
	s, err := NewEvents(Config{
		URL: server.URL, Secret: testSecret, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.maxEvents, s.endpoint.limits.atOnce = 100, 8
	ctx, cancel := context.WithCancel(t.Context())
	var running, open, sending sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	var settled sync.Map
	for hand := range 4 {
		sending.Go(func() {
			for i := range 500 {
				id := fmt.Sprintf("s%d_%d-ended", i%50, hand*500+i)
				open.Add(1)
				s.Send(event(id), func(bool) {
					if _, again := settled.LoadOrStore(id, true); again {
						t.Errorf("%s settled twice", id)
					}
					open.Done()
				})
			}
		})
	}
	sending.Wait()
	open.Wait()
	cancel()
	running.Wait()
	if n := s.queue.len(); n != 0 {
		t.Errorf("%d events left", n)
	}
}

// The log contains no secret, however the delivery fails.
func TestEventsSecrets(t *testing.T) {
	const user, password, query = "scott", "li%2Fon", "t=tiger&x=1"
	answers := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/refuses":
			w.WriteHeader(http.StatusUnauthorized)
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
		}
		answers <- struct{}{}
	}))
	defer server.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for base, why := range map[string]string{
		server.URL + "/refuses": "status=401",
		server.URL + "/breaks":  "not shown",
		server.URL + "/garbles": "not shown",
		closed.URL + "/closed":  "connection refused",
	} {
		url := strings.Replace(base, "http://", "http://"+user+":"+password+"@", 1) + "?" + query
		var log string
		if strings.HasPrefix(base, server.URL) {
			log = eventOnNetwork(t, url, nil, func(<-chan bool) { <-answers })
		} else {
			log = eventOnNetwork(t, url, nil, func(<-chan bool) {})
		}
		if !strings.Contains(log, "event not delivered") || !strings.Contains(log, "endpoint="+base) || !strings.Contains(log, why) {
			t.Errorf("%s: logged %s", base, log)
		}
		for _, hidden := range []string{user, "lion", "li/on", "li%2Fon", "tiger", testSecret, "v1,"} {
			if strings.Contains(log, hidden) {
				t.Errorf("%s: the log holds %q: %s", base, hidden, log)
			}
		}
	}
}

// The wait after a refusal is shorter than the wait without an answer.
func TestAnswerWait(t *testing.T) {
	for status, want := range map[int]time.Duration{
		0: 5 * time.Minute, 429: 5 * time.Minute, 502: 5 * time.Minute, 503: 5 * time.Minute, 504: 5 * time.Minute,
		302: 10 * time.Second, 401: 10 * time.Second, 404: 10 * time.Second, 500: 10 * time.Second,
	} {
		if got := waitAfter(status); got != want {
			t.Errorf("%d: waits up to %s, want up to %s", status, got, want)
		}
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

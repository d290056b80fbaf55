//go:build programs

package webhooks

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	neturl "net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"refresher/internal/hook"
	"refresher/internal/hook/hooktest"
	"refresher/internal/session"
	"refresher/test/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// prefixed and raw are secrets in the two forms that a node accepts. The constant `another` is a secret that only
// another node has.
const (
	prefixed = "whsec_wP/uwP/uwP/uwP/uwP/uwP/uwP/uwP/u"
	raw      = "a text with bytes ÄÖ, not base64"
	another  = "another text, of somebody else's"
)

const event = `{"id":"S-joined","type":"session.joined","session":"S","rtc":{"channel":"Zürich","uid":7}}`

// receivers has a function for each language. It starts the receiver that docs/build/events.md shows, and returns its
// URL. The secret has the form that the receiver's library needs.
var receivers = map[string]func(t *testing.T, secret string) string{
	"Node": func(t *testing.T, secret string) string {
		return startNode(t, "events.js", "EVENTS_SECRET="+secret)
	},
	"Go": func(t *testing.T, secret string) string {
		handler, err := receive(secret, func(kind, id string) {
			if kind != "session.joined" || id != "S-joined" {
				t.Errorf("verified %s, %s", kind, id)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return server.URL
	},
	// The module of the Go library also has the source of the Python library, so the test need not download the
	// Python library.
	"Python": func(t *testing.T, secret string) string {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/standard-webhooks/standard-webhooks/libraries").Output()
		if err != nil {
			t.Fatal(err)
		}
		library := strings.TrimSpace(string(out)) + "/python"
		return start(t, "python3", "events.py", "EVENTS_SECRET="+secret, "PYTHONPATH="+library, "PYTHONDONTWRITEBYTECODE=1")
	},
}

func startNode(t *testing.T, file, secret string) string {
	t.Helper()
	if _, err := os.Stat("node_modules/standardwebhooks"); err != nil {
		t.Fatalf("npm package standardwebhooks is not installed (%v): run `make setup`", err)
	}
	return start(t, "node", file, secret)
}

func start(t *testing.T, path, file string, env ...string) string {
	t.Helper()
	address := program.Address(t)
	_, port, _ := strings.Cut(address, ":")
	journal := new(program.Journal)
	p, err := program.Start(journal, program.Command{
		Path: path, Args: []string{file}, Env: append(os.Environ(), append(env, "PORT="+port)...),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	listening := func(l program.Line) bool { return l.Text == "listening" }
	if err := journal.Await(0, p.Done(), patience, listening); err != nil {
		t.Fatalf("%s: %v: %s", file, err, journal.Tail(20))
	}
	return "http://" + address
}

// TestReceiversVerifyWhatANodeSends checks that the receivers accept a node's events: with either form of the secret,
// and while the secret is changed, when the node signs with the old one and the new one.
func TestReceiversVerifyWhatANodeSends(t *testing.T) {
	for language, receiver := range receivers {
		t.Run(language, func(t *testing.T) {
			urls := map[string]string{}
			for _, secret := range []string{prefixed, raw} {
				urls[secret] = receiver(t, hooktest.LibrarySecret(secret))
			}
			for _, c := range []struct {
				receiver, secret, previous string
				want                       int
			}{
				{prefixed, prefixed, "", 204},
				{raw, raw, "", 204},
				{raw, prefixed, raw, 204},
				{prefixed, another, "", 401},
			} {
				if got := post(t, urls[c.receiver], hook.Config{Secret: c.secret, PreviousSecret: c.previous}); got != c.want {
					t.Errorf("a receiver with %q answers %d to a node with %q and %q, want %d", c.receiver, got, c.secret, c.previous, c.want)
				}
			}
		})
	}
}

// post makes a node send an event to url, and returns the status of the receiver's first answer.
func post(t *testing.T, url string, c hook.Config) int {
	t.Helper()
	statuses := make(chan int, 100)
	target, err := neturl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	proxy.ModifyResponse = func(r *http.Response) error {
		statuses <- r.StatusCode
		return nil
	}
	server := httptest.NewServer(proxy)
	defer server.Close()
	c.URL, c.Logger, c.Registerer = server.URL, slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	events, err := hook.NewEvents(c)
	if err != nil {
		t.Fatal(err)
	}
	defer run(t, events.Run)()
	events.Send(session.Event{
		ID: "S-joined", Type: session.EventJoined, Session: "S", Identity: session.Identity{RTC: &session.RTC{Channel: "Zürich", UID: 7}},
	}, func(bool) {})
	return <-statuses
}

func run(t *testing.T, f func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// TestReceiversRefuseWhatIsForged checks that the receivers refuse an event that was changed, that was signed six minutes
// ago, or that is not signed.
func TestReceiversRefuseWhatIsForged(t *testing.T) {
	for language, receiver := range receivers {
		t.Run(language, func(t *testing.T) {
			url := receiver(t, prefixed)
			for name, c := range map[string]struct {
				age  time.Duration
				body string
				want int
			}{
				"as it was sent":       {body: event, want: 204},
				"signed 6 minutes ago": {age: 6 * time.Minute, body: event, want: 401},
				"another body":         {body: strings.Replace(event, "S", "T", 1), want: 401},
			} {
				if got := send(t, url, signed(t, time.Now().Add(-c.age)), c.body); got != c.want {
					t.Errorf("%s: answered %d, want %d", name, got, c.want)
				}
			}
			if got := send(t, url, http.Header{}, event); got != 401 {
				t.Errorf("not signed: answered %d, want 401", got)
			}
		})
	}
}

func signed(t *testing.T, at time.Time) http.Header {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(prefixed)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := w.Sign("S-joined", at, []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set("webhook-id", "S-joined")
	h.Set("webhook-timestamp", fmt.Sprint(at.Unix()))
	h.Set("webhook-signature", signature)
	return h
}

func send(t *testing.T, url string, header http.Header, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// TestBackEndDecides checks that the back end of docs/build/approval.md verifies a node's requests, and that the node
// understands its decisions. The back end must refuse a request that is signed with another secret.
func TestBackEndDecides(t *testing.T) {
	url := startNode(t, "authorize.js", "AUTHORIZE_SECRET="+prefixed)
	ask := func(secret, subject string) (hook.Answer, error) {
		a, err := hook.NewApproval(hook.Config{URL: url, Secret: secret, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		defer run(t, a.Run)()
		return a.Request(t.Context(), hook.Request{Action: "join", App: "app", Subject: subject})
	}
	if a, err := ask(prefixed, "ana"); err != nil || !a.Allow {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := ask(prefixed, "ben"); err != nil || a.Allow {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := ask(another, "ana"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestDocumentsShowTheReceivers(t *testing.T) {
	for document, blocks := range map[string]map[string]string{
		"docs/build/events.md":   {"js": "events.js", "go": "events.go", "python": "events.py"},
		"docs/build/approval.md": {"js": "authorize.js"},
	} {
		text, err := os.ReadFile("../../" + document)
		if err != nil {
			t.Fatal(err)
		}
		for language, file := range blocks {
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if language == "go" { // the document does not show the package clause and its comment
				code = code[bytes.Index(code, []byte("import (")):]
			}
			if block := fmt.Sprintf("```%s\n%s```\n", language, code); !strings.Contains(string(text), block) {
				t.Errorf("%s does not show test/webhooks/%s as it is:\n%s", document, file, block)
			}
		}
	}
}

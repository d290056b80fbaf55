package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"refresher/internal/hook/hooktest"
	"refresher/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

const (
	testSecret     = "a secret of more than 24 bytes"
	prefixedSecret = "whsec_wP/uwP/uwP/uwP/uwP/uwP/uwP/uwP/u"
)

// wantNoSecret fails the test if text contains a secret of the harness.
func wantNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, hidden := range []string{"scott", "lion", "tiger", testSecret, prefixedSecret, "v1,"} {
		if strings.Contains(text, hidden) {
			t.Errorf("it contains %q: %s", hidden, text)
		}
	}
}

// harness runs an Approval and an Events under synctest's fake clock. It is also their transport, which simulates the
// back end and verifies each request.
type harness struct {
	t        *testing.T
	approval *Approval
	events   *Events
	registry *prometheus.Registry
	log      bytes.Buffer
	began    time.Time
	cancel   context.CancelFunc
	running  sync.WaitGroup
	answer   func(context.Context, *request) reply

	mu      sync.Mutex
	got     []*request      // guarded by mu; requests that the back end received
	open    []*request      // guarded by mu; requests in progress
	most    int             // guarded by mu; highest number of concurrent requests
	ids     map[string]bool // guarded by mu; ids of approval requests
	settled map[string]bool // guarded by mu; whether an event was delivered, by id
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{t: t, answer: accept, began: time.Now(), ids: make(map[string]bool), settled: make(map[string]bool)}
	c := h.config()
	var err, errEvents error
	h.approval, err = NewApproval(c)
	h.events, errEvents = NewEvents(c)
	if err = errors.Join(err, errEvents); err != nil {
		t.Fatal(err)
	}
	h.approval.endpoint.client.Transport, h.events.endpoint.client.Transport = h, h
	h.approval.patience = 30 * time.Second
	t.Cleanup(func() { wantNoSecret(t, h.log.String()) })
	return h
}

func (h *harness) config() Config {
	h.registry = prometheus.NewRegistry()
	return Config{
		URL: "https://scott:lion@app.test/hooks?t=tiger", Secret: testSecret,
		Logger: slog.New(slog.NewTextHandler(&h.log, nil)), Registerer: h.registry,
	}
}

// run starts the Approval and the Events. They run until the test ends or the method `stop` is called.
func (h *harness) run() *harness {
	ctx, cancel := context.WithCancel(h.t.Context())
	h.cancel = cancel
	h.running.Go(func() { h.approval.Run(ctx) })
	h.running.Go(func() { h.events.Run(ctx) })
	h.t.Cleanup(func() { h.stop() })
	return h
}

// stop ends the Approval and the Events, and returns how long that took.
func (h *harness) stop() time.Duration {
	began := time.Now()
	h.cancel()
	h.running.Wait()
	return time.Since(began)
}

// metric returns the value of a metric, or a histogram's number of observations. The parameter `labels` has the labels'
// values, in the alphabetical order of the labels' names.
func (h *harness) metric(name string, labels ...string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(values, labels) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	h.t.Fatalf("no metric %s %v", name, labels)
	return 0
}

// lines counts the log lines that contain text.
func (h *harness) lines(text string) (n int) {
	for line := range strings.Lines(h.log.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// wait advances the fake clock by d and waits until all goroutines block.
func wait(d time.Duration) {
	time.Sleep(d) // bubble
	synctest.Wait()
}

// request is an event or a batch of approval requests that the back end received.
type request struct {
	at          time.Time
	header      http.Header
	ID, Session string
	Requests    []approvalRequest
	try         int // number of the attempt with this id, from 1
}

type approvalRequest struct {
	ID, Action, App, Session, Subject string
}

type reply struct {
	status           int
	retryAfter, body string
	err              error
}

var errRefused = errors.New("connection refused")

// down refuses every request, as if the back end did not run.
func down(context.Context, *request) reply { return reply{err: errRefused} }

// hang never answers; it returns when the request is cancelled.
func hang(ctx context.Context, _ *request) reply {
	<-ctx.Done()
	return reply{err: ctx.Err()}
}

// status returns a back end that always answers with this code.
func status(code int) func(context.Context, *request) reply {
	return func(context.Context, *request) reply { return reply{status: code} }
}

// after returns a back end that delays its answer by d.
func after(d time.Duration, answer func(context.Context, *request) reply) func(context.Context, *request) reply {
	return func(ctx context.Context, r *request) reply {
		select {
		case <-time.After(d):
			return answer(ctx, r)
		case <-ctx.Done():
			return reply{err: ctx.Err()}
		}
	}
}

// accept answers an event with 200, and allows all requests of a batch.
func accept(_ context.Context, r *request) reply {
	return decide(r, func(approvalRequest) string { return `"allow":true` })
}

// decide answers a batch. The function `decision` returns the fields of a JSON decision that follow the id.
func decide(r *request, decision func(approvalRequest) string) reply {
	var all []string
	for _, q := range r.Requests {
		if d := decision(q); d != "" {
			all = append(all, fmt.Sprintf(`{"id":%q,%s}`, q.ID, d))
		}
	}
	return reply{status: 200, body: `{"decisions":[` + strings.Join(all, ",") + `]}`}
}

func (h *harness) RoundTrip(q *http.Request) (*http.Response, error) {
	r := &request{at: time.Now(), header: q.Header}
	if q.Method != http.MethodPost || q.URL.Host != "app.test" || q.URL.Path != "/hooks" || q.URL.RawQuery != "t=tiger" {
		h.t.Errorf("%s %s", q.Method, q.URL)
	}
	text, err := io.ReadAll(q.Body)
	if err = errors.Join(err, hooktest.Verify(testSecret, q.Header, text), json.Unmarshal(text, r)); err != nil {
		h.t.Error(err)
	}
	h.begin(r)
	said := h.answer(q.Context(), r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = slices.DeleteFunc(h.open, func(x *request) bool { return x == r })
	if said.err != nil {
		return nil, said.err
	}
	response := &http.Response{StatusCode: said.status, Header: http.Header{"Location": {"https://elsewhere.test/"}}, Body: io.NopCloser(strings.NewReader(said.body))}
	if said.retryAfter != "" {
		response.Header.Set("Retry-After", said.retryAfter)
	}
	return response, nil
}

// begin records r. It fails the test if two events of one session are delivered at the same time, or if the id of an
// approval request was used before.
func (h *harness) begin(r *request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	want := r.ID
	if len(r.Requests) > 0 {
		want = r.Requests[0].ID
	}
	if id := r.header.Get("webhook-id"); id == "" || id != want || strings.Contains(id, ".") {
		h.t.Errorf("the header names %q, the body %q", id, want)
	}
	r.try = 1 + len(h.deliveries(r.ID))
	for _, q := range r.Requests {
		if h.ids[q.ID] {
			h.t.Errorf("id %q for the second time", q.ID)
		}
		h.ids[q.ID] = true
	}
	if r.ID != "" && slices.ContainsFunc(h.open, func(x *request) bool { return x.Session == r.Session }) {
		h.t.Errorf("%s: two events of one session are in progress", r.ID)
	}
	h.got, h.open = append(h.got, r), append(h.open, r)
	h.most = max(h.most, len(h.open))
}

func (h *harness) deliveries(id string) (got []*request) {
	for _, r := range h.got {
		if r.ID == id {
			got = append(got, r)
		}
	}
	return got
}

func (h *harness) sizes() (sizes []int) {
	for _, r := range h.got {
		sizes = append(sizes, len(r.Requests))
	}
	return sizes
}

type call struct {
	done   chan struct{} // closed when the call has returned
	answer Answer
	err    error
	after  time.Duration
}

func (c *call) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (h *harness) ask(ctx context.Context, q Request) *call {
	c := &call{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		began := time.Now()
		c.answer, c.err = h.approval.Request(ctx, q)
		c.after = time.Since(began)
	}()
	return c
}

// askMany makes n different requests in the background, and returns when all goroutines block.
func (h *harness) askMany(action session.Action, n int) (all []*call) {
	for i := range n {
		all = append(all, h.ask(h.t.Context(), approvalOf(action, fmt.Sprintf("%s%05d", action, i))))
	}
	synctest.Wait()
	return all
}

// failures waits until all calls have returned, and counts the errors.
func failures(all ...*call) (n int) {
	for _, c := range all {
		<-c.done
		if c.err != nil {
			n++
		}
	}
	return n
}

// approvalOf returns a request for the named session in channel c.
func approvalOf(action session.Action, name string) Request {
	return Request{
		Action: action, App: "app", Session: name, Subject: "ana",
		Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 7}},
	}
}

// observed returns how many calls of Request were allowed, denied and failed.
func (h *harness) observed() (n [3]float64) {
	h.t.Helper()
	for i, outcome := range []string{"allowed", "denied", "failed"} {
		n[i] = h.metric("refresher_authorize_seconds", outcome)
	}
	return n
}

// event returns an event with this id, "<session>-<type>" or "<session>-<type>-<number>".
func event(id string) session.Event {
	parts := strings.Split(id, "-")
	return session.Event{
		ID: id, Type: session.EventType("session." + parts[1]), At: session.MilliOf(time.Now()), Session: parts[0], Node: "a",
		Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 7}},
	}
}

func (h *harness) send(ids ...string) {
	for _, id := range ids {
		h.events.Send(event(id), func(delivered bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if _, again := h.settled[id]; again {
				h.t.Errorf("%s settled twice", id)
			}
			h.settled[id] = delivered
		})
	}
}

// outcomes returns the sorted ids of the delivered and of the dropped events.
func (h *harness) outcomes() (delivered, dropped []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(h.settled)) {
		if h.settled[id] {
			delivered = append(delivered, id)
		} else {
			dropped = append(dropped, id)
		}
	}
	return delivered, dropped
}

// attempts returns the ids of the events in the order of the attempts to deliver them.
func (h *harness) attempts() (ids []string) {
	for _, r := range h.got {
		ids = append(ids, r.ID)
	}
	return ids
}

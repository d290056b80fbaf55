package hook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"refresher/internal/hook/hooktest"
	"refresher/internal/session"
)

// approvalHarness runs an Approval in a synctest bubble against a simulated back end.
type approvalHarness struct {
	t        *testing.T
	approval *Approval
	registry *prometheus.Registry
	log      *logBuffer
	backEnd  *backEnd
	cancel   context.CancelFunc // ends Run
	returned chan struct{}      // closed when Run has returned
	began    time.Time
}

// newApprovalStage makes an Approval, which the method `run` starts. The function `change` adjusts it before; it may be
// nil.
func newApprovalStage(t *testing.T, change func(*Approval)) *approvalHarness {
	t.Helper()
	s := &approvalHarness{
		t: t, registry: prometheus.NewRegistry(), log: &logBuffer{}, backEnd: &backEnd{t: t},
		returned: make(chan struct{}), began: time.Now(),
	}
	var err error
	s.approval, err = NewApproval(Config{
		URL: "https://scott:lion@app.test/ask?t=tiger", Secret: testSecret,
		Logger: slog.New(slog.NewTextHandler(s.log, nil)), Registerer: s.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.approval.endpoint.client.Transport = s.backEnd
	s.approval.patience = 30 * time.Second
	if change != nil {
		change(s.approval)
	}
	return s
}

// run starts Run, which goes on until the test ends or stop is called.
func (s *approvalHarness) run() *approvalHarness {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.cancel = cancel
	go func() {
		defer close(s.returned)
		s.approval.Run(ctx)
	}()
	s.t.Cleanup(s.stop)
	return s
}

// atOnce limits an Approval to n concurrent batches and perSecond batches a second.
func atOnce(a *Approval, n int, perSecond rate.Limit) {
	a.endpoint.limits.atOnce, a.limiter = n, rate.NewLimiter(perSecond, n)
}

func (s *approvalHarness) stop() {
	s.cancel()
	<-s.returned
}

// asked is one call of Request and its result.
type asked struct {
	done   chan struct{}
	answer Answer
	err    error
	after  time.Duration
}

// over reports whether the call of Request has returned.
func (a *asked) over() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// ask calls Request in the background.
func (s *approvalHarness) ask(q Request) *asked { return s.askWith(s.t.Context(), q) }

func (s *approvalHarness) askWith(ctx context.Context, q Request) *asked {
	a := &asked{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		began := time.Now()
		a.answer, a.err = s.approval.Request(ctx, q)
		a.after = time.Since(began)
	}()
	return a
}

// askMany makes n different requests in the background, and returns when each has
// its answer, or waits in the queue or for the back end.
func (s *approvalHarness) askMany(action session.Action, n int) []*asked {
	var all []*asked
	for i := range n {
		all = append(all, s.ask(question1(action, fmt.Sprintf("%s%05d", action, i))))
	}
	synctest.Wait()
	return all
}

// failures waits until all calls have returned, and counts the errors.
func failures(all []*asked) int {
	n := 0
	for _, a := range all {
		<-a.done
		if a.err != nil {
			n++
		}
	}
	return n
}

// question1 returns an approval request of the named session in channel c.
func question1(action session.Action, name string) Request {
	return Request{
		Action: action, App: "app", Session: name, Subject: "ana",
		Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 7}},
	}
}

// gauge returns the value of a metric without labels.
func (s *approvalHarness) gauge(name string) float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

// observed returns how many requests were allowed, denied and failed.
func (s *approvalHarness) observed() [3]uint64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	var n [3]uint64
	for _, f := range families {
		if f.GetName() != "refresher_authorize_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			i := slices.Index([]string{"allowed", "denied", "failed"}, m.GetLabel()[0].GetValue())
			n[i] = m.GetHistogram().GetSampleCount()
		}
	}
	return n
}

// backEnd is the simulated back end that receives approval requests.
type backEnd struct {
	t *testing.T
	// answer answers a batch; if it is nil, the back end allows all requests at once.
	answer func(context.Context, request) (reply, error)

	mu   sync.Mutex
	got  []request       // guarded by mu
	ids  map[string]bool // guarded by mu; ids received so far, to detect a repeated id
	open int
	most int // guarded by mu; highest value of open
}

// request is a batch that the back end received.
type request struct {
	at        time.Time
	header    http.Header
	questions []asks
}

// asks is one approval request of a batch.
type asks struct {
	ID, Action, App, Session, Subject string
}

func (b *backEnd) RoundTrip(q *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	if err := hooktest.Verify(testSecret, q.Header, text); err != nil {
		b.t.Error(err)
	}
	var body struct{ Requests []asks }
	if err := json.Unmarshal(text, &body); err != nil {
		b.t.Error(err)
	}
	if id := q.Header.Get("webhook-id"); len(body.Requests) == 0 || id != body.Requests[0].ID || strings.Contains(id, ".") {
		b.t.Errorf("the request has the id %q, which is not that of its first question, or has a dot", id)
	}
	if at := q.Header.Get("webhook-timestamp"); at != fmt.Sprint(time.Now().Unix()) {
		b.t.Errorf("signed at %s, sent at %d", at, time.Now().Unix())
	}
	r := request{at: time.Now(), header: q.Header, questions: body.Requests}
	b.begin(r)
	defer b.end()
	answer := b.answer
	if answer == nil {
		answer = allow
	}
	said, err := answer(q.Context(), r)
	if err != nil {
		return nil, err
	}
	response := &http.Response{StatusCode: said.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(said.body))}
	if said.retryAfter != "" {
		response.Header.Set("Retry-After", said.retryAfter)
	}
	return response, nil
}

func (b *backEnd) begin(r request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(r.questions); n == 0 || n > 100 {
		b.t.Errorf("%d questions in a request", n)
	}
	if b.ids == nil {
		b.ids = make(map[string]bool)
	}
	for _, q := range r.questions {
		if q.ID == "" || b.ids[q.ID] {
			b.t.Errorf("id %q for the second time", q.ID)
		}
		b.ids[q.ID] = true
	}
	b.got = append(b.got, r)
	b.open++
	b.most = max(b.most, b.open)
}

func (b *backEnd) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
}

func (b *backEnd) requests() []request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

func (b *backEnd) sizes() []int {
	var sizes []int
	for _, r := range b.requests() {
		sizes = append(sizes, len(r.questions))
	}
	return sizes
}

// decide answers a batch. The function `decision` returns the fields of a JSON decision that follow the id.
func decide(r request, decision func(asks) string) reply {
	var all []string
	for _, q := range r.questions {
		if d := decision(q); d != "" {
			all = append(all, fmt.Sprintf(`{"id":%q,%s}`, q.ID, d))
		}
	}
	return reply{status: 200, body: `{"decisions":[` + strings.Join(all, ",") + `]}`}
}

func allow(_ context.Context, r request) (reply, error) {
	return decide(r, func(asks) string { return `"allow":true` }), nil
}

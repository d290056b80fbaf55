package authorize

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"refresher/internal/session"
	"refresher/internal/webhook/webhooktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret     = "a secret of more than 24 bytes"
	previousSecret = "whsec_wP/uwP/uwP/uwP/uwP/uwP/uwP/uwP/u"
)

// stage is an Asker in a bubble, with a back end that is not on any network.
type stage struct {
	t        *testing.T
	asker    *Asker
	registry *prometheus.Registry
	log      *logBuffer
	backEnd  *backEnd
	cancel   context.CancelFunc // ends Run
	returned chan struct{}      // closed when Run has returned
	began    time.Time
}

// newStage makes an Asker that does not run yet. change may be nil.
func newStage(t *testing.T, change func(*Config)) *stage {
	t.Helper()
	s := &stage{
		t: t, registry: prometheus.NewRegistry(), log: &logBuffer{}, backEnd: &backEnd{t: t},
		returned: make(chan struct{}), began: time.Now(),
	}
	c := Config{
		URL: "https://scott:lion@app.test/ask?t=tiger", Secret: testSecret, Patience: 30 * time.Second, Client: &http.Client{Transport: s.backEnd},
		Logger: slog.New(slog.NewTextHandler(s.log, nil)), Registerer: s.registry,
	}
	if change != nil {
		change(&c)
	}
	var err error
	if s.asker, err = New(c); err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs the Asker until the test ends, or stop.
func (s *stage) run() *stage {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.cancel = cancel
	go func() {
		defer close(s.returned)
		if err := s.asker.Run(ctx); err != nil {
			s.t.Error(err)
		}
	}()
	s.t.Cleanup(s.stop)
	return s
}

// stop ends Run and waits for it.
func (s *stage) stop() {
	s.cancel()
	<-s.returned
}

// asked is a call of Ask, and what came of it.
type asked struct {
	done   chan struct{}
	answer Answer
	err    error
	after  time.Duration
}

// over reports whether it has returned.
func (a *asked) over() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// ask asks in the background.
func (s *stage) ask(q Question) *asked { return s.askWith(s.t.Context(), q) }

func (s *stage) askWith(ctx context.Context, q Question) *asked {
	a := &asked{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		began := time.Now()
		a.answer, a.err = s.asker.Ask(ctx, q)
		a.after = time.Since(began)
	}()
	return a
}

// askMany asks n different questions, and returns when all of them wait, or are
// answered.
func (s *stage) askMany(action session.Action, n int) []*asked {
	var all []*asked
	for i := range n {
		all = append(all, s.ask(question1(action, fmt.Sprintf("%s%05d", action, i))))
	}
	synctest.Wait()
	return all
}

// failures waits for calls of Ask and counts those that failed.
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

// question1 is about the session of that name, a user's in channel c.
func question1(action session.Action, name string) Question {
	return Question{
		Action: action, App: "app", Session: name, Subject: "ana",
		Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 7}},
	}
}

// counts holds the metrics named to text.
func (s *stage) counts(text string, names ...string) {
	s.t.Helper()
	if err := testutil.GatherAndCompare(s.registry, strings.NewReader(text), names...); err != nil {
		s.t.Error(err)
	}
}

// gauge is the value of a metric without labels.
func (s *stage) gauge(name string) float64 {
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

// observed is how many questions came to each outcome: allowed, denied, failed.
func (s *stage) observed() [3]uint64 {
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

// backEnd is the customer's.
type backEnd struct {
	t *testing.T
	// answer says what becomes of a request; nil allows everything at once.
	answer func(context.Context, request) (reply, error)

	mu   sync.Mutex
	got  []request       // guarded by mu
	ids  map[string]bool // guarded by mu; seen so far
	open int             // guarded by mu; requests under way
	most int             // guarded by mu; and at once
}

// request is one, as the back end sees it.
type request struct {
	at        time.Time
	header    http.Header
	questions []asks
}

// asks is a question in a request.
type asks struct {
	ID, Action, App, Session, Subject string
}

// reply is what the back end says. retryAfter may be empty.
type reply struct {
	status     int
	retryAfter string
	body       string
}

// RoundTrip checks a request, notes it down, and answers it.
func (b *backEnd) RoundTrip(q *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	if err := webhooktest.Verify(testSecret, q.Header, text); err != nil {
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

// requests are those that came so far.
func (b *backEnd) requests() []request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// sizes is how many questions each request held.
func (b *backEnd) sizes() []int {
	var sizes []int
	for _, r := range b.requests() {
		sizes = append(sizes, len(r.questions))
	}
	return sizes
}

// decide answers each question by the rest of its decision, after the id.
func decide(r request, decision func(asks) string) reply {
	var all []string
	for _, q := range r.questions {
		if d := decision(q); d != "" {
			all = append(all, fmt.Sprintf(`{"id":%q,%s}`, q.ID, d))
		}
	}
	return reply{status: 200, body: `{"decisions":[` + strings.Join(all, ",") + `]}`}
}

// allow allows everything.
func allow(_ context.Context, r request) (reply, error) {
	return decide(r, func(asks) string { return `"allow":true` }), nil
}

// after answers once d has passed.
func after(d time.Duration, answer func(context.Context, request) (reply, error)) func(context.Context, request) (reply, error) {
	return func(ctx context.Context, r request) (reply, error) {
		select {
		case <-time.After(d):
			return answer(ctx, r)
		case <-ctx.Done():
			return reply{}, ctx.Err()
		}
	}
}

// status answers with that one.
func status(code int) func(context.Context, request) (reply, error) {
	return func(context.Context, request) (reply, error) { return reply{status: code}, nil }
}

var errRefused = errors.New("connection refused")

// down answers nothing.
func down(context.Context, request) (reply, error) { return reply{}, errRefused }

// hang answers only when the request is given up.
func hang(ctx context.Context, _ request) (reply, error) {
	<-ctx.Done()
	return reply{}, ctx.Err()
}

// wait lets simulated time pass, and then everything settle.
func wait(d time.Duration) {
	time.Sleep(d) // bubble
	synctest.Wait()
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is what was logged so far.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines is how many lines hold text.
func (b *logBuffer) lines(text string) int {
	n := 0
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

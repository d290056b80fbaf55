package hook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/hook/hooktest"
	"refresher/internal/session"
)

// eventHarness runs an Events in a synctest bubble against a simulated receiver.
type eventHarness struct {
	t        *testing.T
	events   *Events
	registry *prometheus.Registry
	log      *logBuffer
	receiver *receiver
	cancel   context.CancelFunc // ends Run
	returned chan struct{}      // closed when Run has returned

	mu      sync.Mutex
	settled map[string][]bool // guarded by mu; outcomes by event id
}

// newEventStage makes an Events, which the method `run` starts. The function `change` adjusts it before; it may be nil.
func newEventStage(t *testing.T, change func(*Events)) *eventHarness {
	t.Helper()
	s := &eventHarness{
		t: t, registry: prometheus.NewRegistry(), log: &logBuffer{}, receiver: &receiver{t: t},
		returned: make(chan struct{}), settled: make(map[string][]bool),
	}
	var err error
	s.events, err = NewEvents(Config{
		URL: "https://app.test/events", Secret: testSecret, Logger: slog.New(slog.NewTextHandler(s.log, nil)), Registerer: s.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.events.endpoint.client.Transport = s.receiver
	if change != nil {
		change(s.events)
	}
	return s
}

// run starts Run, which goes on until the test ends or stop is called.
func (s *eventHarness) run() *eventHarness {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.cancel = cancel
	go func() {
		defer close(s.returned)
		s.events.Run(ctx)
	}()
	s.t.Cleanup(s.stop)
	return s
}

func (s *eventHarness) stop() {
	s.cancel()
	<-s.returned
}

// event returns an event with this id, "<session>-<rest>", of that session.
func event(id string) session.Event {
	name, rest, _ := strings.Cut(id, "-")
	kind, _, _ := strings.Cut(rest, "-")
	return session.Event{
		ID: id, Type: session.EventType("session." + kind), At: session.MilliOf(time.Now()), Session: name, Node: "a",
		Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 7}},
	}
}

// send sends events and records their outcomes in settled.
func (s *eventHarness) send(ids ...string) {
	for _, id := range ids {
		s.events.Send(event(id), func(delivered bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.settled[id] = append(s.settled[id], delivered); len(s.settled[id]) > 1 {
				s.t.Errorf("%s settled %d times", id, len(s.settled[id]))
			}
		})
	}
}

// outcomes returns the sorted ids of the delivered and of the dropped events.
func (s *eventHarness) outcomes() (delivered, dropped []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.settled)) {
		if s.settled[id][0] {
			delivered = append(delivered, id)
		} else {
			dropped = append(dropped, id)
		}
	}
	return delivered, dropped
}

// receiver simulates the back end that receives events.
type receiver struct {
	t *testing.T
	// answer answers a delivery; if it is nil, the receiver answers 204.
	answer func(ctx context.Context, d delivery) (reply, error)

	mu    sync.Mutex
	got   []delivery      // guarded by mu
	tries map[string]int  // guarded by mu; deliveries so far, by event id
	open  map[string]bool // guarded by mu; sessions with a delivery in progress
	most  int             // guarded by mu; highest number of concurrent deliveries
}

// delivery is one delivery attempt that the receiver saw.
type delivery struct {
	id, session string
	at          time.Time
	try         int // number of the attempt for this event, from 1
	status      int // 0 while there is no answer
	header      http.Header
}

func (r *receiver) RoundTrip(q *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	if err := hooktest.Verify(testSecret, q.Header, text); err != nil {
		r.t.Error(err)
	}
	var b struct{ ID, Session string }
	if err := json.Unmarshal(text, &b); err != nil {
		r.t.Error(err)
	}
	d := delivery{id: b.ID, session: b.Session, at: time.Now(), header: q.Header}
	if id := q.Header.Get("webhook-id"); id != b.ID {
		r.t.Errorf("header names event %s, body %s", id, b.ID)
	}
	if at := q.Header.Get("webhook-timestamp"); at != fmt.Sprint(d.at.Unix()) {
		r.t.Errorf("signed at %s, attempted at %d", at, d.at.Unix())
	}
	n := r.begin(&d)
	said, err := reply{status: 204}, error(nil)
	if r.answer != nil {
		said, err = r.answer(q.Context(), d)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, d.session)
	if err != nil {
		return nil, err
	}
	r.got[n].status = said.status
	response := &http.Response{StatusCode: said.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}
	if said.retryAfter != "" {
		response.Header.Set("Retry-After", said.retryAfter)
	}
	return response, nil
}

// begin records d and returns its index.
func (r *receiver) begin(d *delivery) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tries == nil {
		r.tries, r.open = make(map[string]int), make(map[string]bool)
	}
	r.tries[d.id]++
	d.try = r.tries[d.id]
	if r.open[d.session] {
		r.t.Errorf("%s: two events of one session under way", d.id)
	}
	r.open[d.session] = true
	r.most = max(r.most, len(r.open))
	r.got = append(r.got, *d)
	return len(r.got) - 1
}

// deliveries returns the attempts to deliver the event with this id; an empty id selects all events.
func (r *receiver) deliveries(id string) []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []delivery
	for _, d := range r.got {
		if id == "" || d.id == id {
			got = append(got, d)
		}
	}
	return got
}

// ids returns the event ids of deliveries.
func ids(deliveries []delivery) []string {
	var ids []string
	for _, d := range deliveries {
		ids = append(ids, d.id)
	}
	return ids
}

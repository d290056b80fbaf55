package scheduler

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testConfig(t testing.TB) Config {
	t.Helper()
	sealer, err := session.NewSealer([]byte("a secret of more than 16 bytes"))
	if err != nil {
		t.Fatal(err)
	}
	memory := store.NewMemory(time.Now)
	return Config{
		Serves: func(app string) bool { return app == "app" }, Minter: plainMinter{}, Sealer: sealer,
		Policy: session.Policy{
			TTL: time.Hour, MinTTL: 10 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 30 * 24 * time.Hour,
			AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
		},
		Store: memory, Records: memory, Node: "node-" + rand.Text(),
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
}

// plainMinter mints tokens that say nothing.
type plainMinter struct{}

func (plainMinter) Mint(_ string, _ session.Identity, _ session.Format, _ session.Cause, _, expiresAt session.UnixSec) (session.Tokens, error) {
	return session.Tokens{RTC: "token", ExpiresAt: expiresAt}, nil
}

// start runs a scheduler in the test's bubble until the test ends. It is alone
// with its store, which it has no need to sweep often.
func start(t *testing.T, c Config) *Scheduler {
	t.Helper()
	return run(t, c, time.Minute)
}

func run(t *testing.T, c Config, sweepEvery time.Duration) *Scheduler {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.sweepEvery = sweepEvery
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	// The context of the test is done before its clean-ups run.
	t.Cleanup(func() { <-done })
	return s
}

// phone is a client: it records what it is sent, and answers as told.
type phone struct {
	t         *testing.T
	scheduler *Scheduler
	// answer is called for each push, in a goroutine of its own; nil acks at
	// once.
	answer func(p *phone, push session.Push)
	// refuse makes writing joined fail.
	refuse bool
	// take is called while a push is written; nil takes it at once.
	take func() error

	mu         sync.Mutex
	attachment session.Attachment // guarded by mu
	record     record             // guarded by mu
}

// record is what happened to a phone.
type record struct {
	joined    session.Joined
	pushes    []session.Push
	at        []time.Time // of pushes
	ended     *session.Ending
	lost      bool
	expiresAt session.UnixSec // of the newest tokens
}

// got is what has happened so far.
func (p *phone) got() record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record
}

// join opens a session.
func (p *phone) join(ttl time.Duration) {
	p.t.Helper()
	a, err := p.scheduler.Join(context.Background(), session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "c", UID: 1}}, TTL: ttl, Caller: anybody}, p)
	if err != nil {
		p.t.Fatal(err)
	}
	p.hold(a)
}

func (p *phone) hold(a session.Attachment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attachment = a
}

// again is the same phone on a new connection; it has what the old one had.
func (p *phone) again() *phone {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &phone{t: p.t, scheduler: p.scheduler, answer: p.answer, record: record{joined: p.record.joined, expiresAt: p.record.expiresAt}}
}

// ticket is what the phone resumes with.
func (p *phone) ticket() session.Resume {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq := p.record.joined.Seq
	if n := len(p.record.pushes); n > 0 {
		seq = p.record.pushes[n-1].Seq
	}
	return session.Resume{Session: p.record.joined.Session, Key: p.record.joined.Key, Seq: seq}
}

// resume goes on with the session that from had.
func (p *phone) resume(from *phone) error {
	a, err := p.scheduler.Resume(context.Background(), from.ticket(), p)
	if err != nil {
		return err
	}
	p.hold(a)
	return nil
}

func (p *phone) hands() session.Attachment {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attachment
}

func (p *phone) Joined(j session.Joined) error {
	if p.refuse {
		return errGone
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record.joined = j
	p.see(j.Push)
	return nil
}

func (p *phone) Push(push session.Push) error {
	if p.take != nil {
		if err := p.take(); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record.pushes = append(p.record.pushes, push)
	p.record.at = append(p.record.at, time.Now())
	p.see(push)
	go func() {
		if p.answer != nil {
			p.answer(p, push)
		} else if err := p.hands().Ack(push.Seq); err != nil {
			p.t.Error(err)
		}
	}()
	return nil
}

// see checks that tokens never get shorter. p.mu is held.
func (p *phone) see(push session.Push) {
	if push.Tokens.ExpiresAt < p.record.expiresAt {
		p.t.Errorf("seq %d expires at %d, the one before at %d", push.Seq, push.Tokens.ExpiresAt, p.record.expiresAt)
	}
	p.record.expiresAt = push.Tokens.ExpiresAt
}

func (p *phone) End(e session.Ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.record.ended != nil {
		p.t.Error("ended twice")
	}
	p.record.ended = &e
}

func (p *phone) Lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record.lost = true
}

func silent(*phone, session.Push) {}

// pass lets simulated time pass.
func pass(d time.Duration) {
	time.Sleep(d) // bubble
}

// wait lets simulated time pass, and then everything settle.
func wait(d time.Duration) {
	pass(d)
	synctest.Wait()
}

// whole checks that each session stands in the queue exactly once.
func (s *Scheduler) whole(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[*entry]int)
	s.queue.Each(func(e *entry, _, _ time.Duration) { seen[e]++ })
	for id, e := range s.entries {
		if seen[e] != 1 {
			t.Errorf("session %s stands in the queue %d times", id, seen[e])
		}
	}
	if len(seen) != len(s.entries) {
		t.Errorf("%d deadlines for %d sessions", len(seen), len(s.entries))
	}
}

var errGone = errors.New("gone")

// lagOf is how late a node's pushes were in all, in seconds, and how many it made.
func lagOf(t testing.TB, m *member) (sum float64, count uint64) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "refresher_push_lag_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleSum(), h.GetSampleCount()
		}
	}
	t.Fatal("no such metric")
	return 0, 0
}

// anybody may have everything.
var anybody = session.Caller{App: "app", Grant: session.Grant{All: true}}

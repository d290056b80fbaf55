package session

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a session with simulated clocks, whose tokens are empty.
type world struct {
	t      *testing.T
	policy Policy
	now    Instant
	s      *Session
}

func testPolicy() Policy {
	return Policy{
		TTL: time.Hour, MinTTL: 10 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 7 * 24 * time.Hour,
		AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
	}
}

func newWorld(t *testing.T, ttl time.Duration) *world {
	t.Helper()
	w := &world{t: t, policy: testPolicy(), now: Instant{Mono: time.Minute, Wall: 1_800_000_000_250_000_000}}
	terms, err := w.policy.Terms(&Join{TTL: ttl, Caller: Caller{Grant: Grant{All: true}}}, w.now)
	must(t, err)
	w.s = New(ResumeClaims{Session: "S1", App: "app", Identity: Identity{RTM: &RTM{"u"}}, Terms: terms}, &w.policy, w.now)
	return w
}

// attached returns a world whose client has joined, with tokens of this lifetime.
func attached(t *testing.T, ttl time.Duration) *world {
	t.Helper()
	w := newWorld(t, ttl)
	w.attach()
	return w
}

// pass moves both clocks forward by d.
func (w *world) pass(d time.Duration) {
	w.now.Mono += d
	w.now.Wall = w.now.Wall.Add(d)
}

// passTo moves both clocks forward to the session's deadline.
func (w *world) passTo() time.Duration {
	d := w.s.Deadline() - w.now.Mono
	w.pass(d)
	return d
}

func (w *world) tokens() Tokens {
	w.t.Helper()
	_, expiresAt, err := w.s.NextValidity(w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return Tokens{RTM: "t", ExpiresAt: expiresAt, Certificate: w.s.signer.Certificate}
}

func (w *world) attach() Push {
	w.t.Helper()
	return w.s.Attach(w.tokens(), w.now)
}

func (w *world) issue(cause Cause) Push {
	w.t.Helper()
	p := w.s.Issue(w.tokens(), cause, w.now)
	w.s.Sent()
	return p
}

func (w *world) repeat() Push {
	p := w.s.Repeat(w.now)
	w.s.Sent()
	return p
}

// ask sends a renew message on the connection. An unconfirmed bundle is pushed again.
func (w *world) ask() {
	if w.s.RenewRequested(w.now) == Repeat {
		w.s.Again(w.now)
	}
}

// due checks that the deadline has come, and that task is due.
func (w *world) due(task Task) Cause {
	w.t.Helper()
	got, cause := w.s.TakeTask(w.now)
	require(w.t, got == task, "at the deadline: task %d, want %d", got, task)
	return cause
}

// next moves the clocks to the deadline, and checks that task is due.
func (w *world) next(task Task) {
	w.t.Helper()
	w.passTo()
	w.due(task)
}

// dueFor checks that the deadline has come, and that a renewal for this cause is due.
func (w *world) dueFor(want Cause) {
	w.t.Helper()
	cause := w.due(Renew)
	require(w.t, cause == want, "renewed for %q, want %q", cause, want)
}

// nextFor moves the clocks to the deadline, and checks that a renewal for this cause is due.
func (w *world) nextFor(want Cause) {
	w.t.Helper()
	w.passTo()
	w.dueFor(want)
}

// renew moves the clocks to the scheduled renewal, and pushes new tokens.
func (w *world) renew() Push {
	w.t.Helper()
	w.next(Renew)
	return w.issue(CauseSchedule)
}

// passBy moves the clocks to the deadline, and checks that this takes the time want.
func (w *world) passBy(want time.Duration) {
	w.t.Helper()
	wait := w.passTo()
	require(w.t, wait == want, "due after %s, want %s", wait, want)
}

// nack refuses a bundle. It returns whether the nack counts.
func (w *world) nack(seq uint64) bool {
	w.t.Helper()
	news, err := w.s.Nack(seq, w.now)
	must(w.t, err)
	return news
}

func (w *world) ack(seq uint64) Acked {
	w.t.Helper()
	a, err := w.s.Ack(seq, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// tester is a *testing.T, *testing.B or *rapid.T.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// must ends the test if err is not nil.
func must(t tester, err error) {
	t.Helper()
	require(t, err == nil, "%v", err)
}

// check fails the test with a message if ok is false.
func check(t tester, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Errorf(format, args...)
	}
}

// require ends the test with a message if ok is false.
func require(t tester, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf(format, args...)
	}
}

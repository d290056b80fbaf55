package session

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a session with simulated clocks. Its tokens are empty strings.
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

// anybody is a caller whose grant allows any session.
var anybody = Caller{App: "app", Grant: Grant{All: true}}

func newWorld(t *testing.T, ttl time.Duration) *world {
	t.Helper()
	w := &world{t: t, policy: testPolicy(), now: Instant{Mono: time.Minute, Wall: 1_800_000_000_250_000_000}}
	terms, err := w.policy.Terms(&Join{TTL: ttl, Caller: anybody}, w.now)
	must(t, err)
	w.s = New(ResumeClaims{Session: "S1", App: "app", Identity: Identity{RTM: &RTM{"u"}}, Terms: terms}, &w.policy, w.now)
	return w
}

// rebuilt returns a test session (world) that its node has restored from the resume key alone,
// without a record.
func rebuilt(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, time.Hour)
	w.s = New(ResumeClaims{Session: "S", Terms: w.s.Terms, Epoch: 4}, &w.policy, w.now)
	return w
}

// attached returns a test session (world) whose client has joined, with tokens of this lifetime.
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

// next moves both clocks forward to the session's deadline, and checks which task is then due. It
// returns the time until the deadline.
func (w *world) next(task Task, cause Cause) time.Duration {
	w.t.Helper()
	wait := w.s.Deadline() - w.now.Mono
	w.pass(wait)
	gotTask, gotCause := w.s.TakeTask(w.now)
	require(w.t, gotTask == task && gotCause == cause, "at the deadline: task %d for %q, want task %d for %q", gotTask, gotCause, task, cause)
	return wait
}

// nextAfter checks when the session's deadline comes, and which task is then due.
func (w *world) nextAfter(wait time.Duration, task Task, cause Cause) {
	w.t.Helper()
	got := w.next(task, cause)
	require(w.t, got == wait, "due after %s, want %s", got, wait)
}

func (w *world) tokens() Tokens {
	w.t.Helper()
	_, expiresAt, err := w.s.NextValidity(w.now)
	must(w.t, err)
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

// renew moves the clocks to the scheduled renewal, and pushes new tokens.
func (w *world) renew() Push {
	w.t.Helper()
	w.next(Renew, CauseSchedule)
	return w.issue(CauseSchedule)
}

// nack refuses a bundle. It returns the result of Session.Nack.
func (w *world) nack(seq uint64) bool {
	w.t.Helper()
	news, err := w.s.Nack(seq, w.now)
	must(w.t, err)
	return news
}

func (w *world) ack(seq uint64) Acked {
	w.t.Helper()
	a, err := w.s.Ack(seq, w.now)
	must(w.t, err)
	return a
}

// tester is a *testing.T, *testing.B or *rapid.T.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

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

// equal fails the test if `have` differs from `want`. The argument `what` names the value.
func equal[T comparable](t tester, what string, have, want T) {
	t.Helper()
	check(t, have == want, "%s: have %v, want %v", what, have, want)
}

// require ends the test with a message if ok is false.
func require(t tester, ok bool, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Fatalf(format, args...)
	}
}

// wantEnded checks that err is an EndedError with this reason.
func wantEnded(t tester, err error, reason EndReason) {
	t.Helper()
	ended, ok := errors.AsType[*EndedError](err)
	check(t, ok && ended.Reason == reason, "have %v, want a session that ended as %s", err, reason)
}

// wantCode checks that err is a refusal with this code; "" if there must be no error.
func wantCode(t tester, err error, want Code) {
	t.Helper()
	refused, _ := errors.AsType[*Error](err)
	ok := err == nil
	if want != "" {
		ok = refused != nil && refused.Code == want
	}
	check(t, ok, "have %v, want code %q", err, want)
}

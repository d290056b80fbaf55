package hook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		s.backEnd.answer = after(20*time.Millisecond, func(_ context.Context, r request) (reply, error) {
			return decide(r, func(q asks) string {
				if q.Session == "broke" {
					return `"allow":false,"reason":"no\ncredit","until":7`
				}
				return `"allow":true,"reason":"paid","until":1800000000`
			}), nil
		})
		allowed, denied := s.ask(question1(session.ActionRenew, "paid")), s.ask(question1(session.ActionJoin, "broke"))
		wait(24 * time.Millisecond)
		if allowed.over() || denied.over() || s.gauge("refresher_authorize_waiting") != 2 {
			t.Errorf("answered too soon, or %v wait", s.gauge("refresher_authorize_waiting"))
		}
		wait(time.Millisecond)
		if want := (Answer{Allow: true, Reason: "paid", Until: 1800000000}); allowed.answer != want || allowed.err != nil {
			t.Errorf("%+v, %v", allowed.answer, allowed.err)
		}
		if want := (Answer{Reason: "no credit"}); denied.answer != want || denied.err != nil {
			t.Errorf("%+v, %v", denied.answer, denied.err)
		}
		got := s.backEnd.requests()
		if len(got) != 1 || len(got[0].questions) != 2 {
			t.Fatalf("%d requests", len(got))
		}
		got[0].header.Del("webhook-signature") // RoundTrip has verified this signature
		want := http.Header{
			"Authorization": {"Basic c2NvdHQ6bGlvbg=="}, "Content-Type": {"application/json"}, "User-Agent": {"refresher"},
			"Webhook-Id": {got[0].questions[0].ID}, "Webhook-Timestamp": {fmt.Sprint(got[0].at.Unix())},
		}
		if diff := cmp.Diff(want, got[0].header); diff != "" {
			t.Error(diff)
		}
		if q := got[0].questions[0]; q.Action != "join" || q.App != "app" || q.Session != "broke" || q.Subject != "ana" {
			t.Errorf("%+v", q)
		}
		counts(t, s.registry, `
# HELP refresher_authorize_circuit_open 1 while the approval endpoint is failing and only probed now and then, else 0.
# TYPE refresher_authorize_circuit_open gauge
refresher_authorize_circuit_open 0
# HELP refresher_authorize_requests_total HTTP requests to the approval endpoint, by outcome: ok, refused by a status other than 200, malformed answer, failed without an answer.
# TYPE refresher_authorize_requests_total counter
refresher_authorize_requests_total{outcome="failed"} 0
refresher_authorize_requests_total{outcome="malformed"} 0
refresher_authorize_requests_total{outcome="ok"} 1
refresher_authorize_requests_total{outcome="refused"} 0
# HELP refresher_authorize_waiting Approval requests that wait for their turn or their answer.
# TYPE refresher_authorize_waiting gauge
refresher_authorize_waiting 0
`, "refresher_authorize_circuit_open", "refresher_authorize_requests_total", "refresher_authorize_waiting")
		if n := s.observed(); n != [3]uint64{1, 1, 0} {
			t.Errorf("allowed, denied, failed: %v", n)
		}
		if s.log.String() != "" {
			t.Errorf("logged: %s", s.log)
		}
	})
}

// A request waits 5 ms for further requests, but a full batch of 100 is sent at once.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		s.ask(question1(session.ActionRenew, "a"))
		wait(4 * time.Millisecond)
		s.ask(question1(session.ActionJoin, "b"))
		wait(2 * time.Millisecond)
		s.ask(question1(session.ActionJoin, "c"))
		wait(time.Second)
		s.askMany(session.ActionJoin, 99)
		s.ask(question1(session.ActionRenew, "d"))
		wait(time.Second)
		s.askMany(session.ActionJoin, 250)
		wait(time.Second)
		var at []time.Duration
		for _, r := range s.backEnd.requests() {
			at = append(at, r.at.Sub(s.began))
		}
		if diff := cmp.Diff([]int{2, 1, 100, 100, 100, 50}, s.backEnd.sizes()); diff != "" {
			t.Error(diff)
		}
		const ms, second = time.Millisecond, time.Second
		want := []time.Duration{5 * ms, 11 * ms, second + 6*ms, 2*second + 6*ms, 2*second + 6*ms, 2*second + 11*ms}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
	})
}

// Equal requests of one session are sent once, while they wait in the queue.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		s.backEnd.answer = after(time.Second, allow)
		same := question1(session.ActionRenew, "a")
		anew, other, nameless := question1(session.ActionJoin, "a"), question1(session.ActionRenew, "a"), question1(session.ActionJoin, "")
		other.Identity.RTC.Channel = "d"
		var all []*asked
		for range 10 {
			all = append(all, s.ask(same), s.ask(anew), s.ask(other), s.ask(nameless))
		}
		wait(10 * time.Millisecond) // the first batch has been sent
		all = append(all, s.ask(same), s.ask(same))
		wait(10 * time.Millisecond)
		if diff := cmp.Diff([]int{13, 1}, s.backEnd.sizes()); diff != "" {
			t.Error(diff)
		}
		if n := failures(all); n != 0 {
			t.Errorf("%d failed", n)
		}
		if n := s.observed(); n != [3]uint64{42, 0, 0} {
			t.Errorf("allowed, denied, failed: %v", n)
		}
	})
}

// Joins and resumes go before renewals, but a quarter of each batch is kept for renewals.
func TestPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, func(a *Approval) { atOnce(a, 1, 50) })
		var all []*asked
		for i := range 450 {
			action := session.ActionJoin
			switch {
			case i < 200:
				action = session.ActionRenew
			case i >= 400:
				action = session.ActionResume
			}
			all = append(all, s.ask(question1(action, fmt.Sprintf("%05d", i))))
			synctest.Wait() // so that the requests are queued in this order
		}
		s.run()
		wait(time.Second)
		var got [][2]int // people, renewals
		var order [2]string
		for _, r := range s.backEnd.requests() {
			var n [2]int
			for _, q := range r.questions {
				kind := 0
				if q.Action == "renew" {
					kind = 1
				}
				n[kind]++
				if last := order[kind]; q.Session <= last {
					t.Errorf("%s after %s", q.Session, last)
				}
				order[kind] = q.Session
			}
			got = append(got, n)
		}
		if diff := cmp.Diff([][2]int{{75, 25}, {75, 25}, {75, 25}, {25, 75}, {0, 50}}, got); diff != "" {
			t.Error(diff)
		}
		if n := failures(all); n != 0 {
			t.Errorf("%d failed", n)
		}
	})
}

// In a storm, requests are answered at the rate of batches.
func TestStorm(t *testing.T) {
	for n, most := range map[int]time.Duration{10_000: 2 * time.Second, 20_000: 4 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := newApprovalStage(t, nil).run()
			s.backEnd.answer = after(50*time.Millisecond, allow)
			all := s.askMany(session.ActionJoin, n)
			if got := s.gauge("refresher_authorize_waiting"); got != float64(n) {
				t.Errorf("%v wait, want %d", got, n)
			}
			if failed := failures(all); failed != 0 {
				t.Errorf("%d of %d failed", failed, n)
			}
			got := s.backEnd.requests()
			if len(got) != n/100 {
				t.Errorf("%d requests, want %d", len(got), n/100)
			}
			took := time.Since(s.began)
			if took > most {
				t.Errorf("took %s", took)
			}
			t.Logf("%d questions: %d requests in %s", n, len(got), took)
			if s.backEnd.most > 8 {
				t.Errorf("%d requests at once", s.backEnd.most)
			}
			for i := range got {
				// The first batches start together, up to the concurrency limit; later ones start at the rate
				// limit.
				if due := time.Duration(i-7) * time.Second / 50; got[i].at.Sub(s.began) < due-time.Millisecond {
					t.Errorf("request %d after %s, want %s", i, got[i].at.Sub(s.began), due)
				}
			}
		})
	}
}

// A slow back end receives at most the configured number of concurrent batches, each of them full.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, func(a *Approval) { atOnce(a, 2, 50) }).run()
		s.backEnd.answer = after(time.Second, allow)
		for range 40 {
			s.askMany(session.ActionRenew, 10)
			wait(100 * time.Millisecond)
		}
		wait(3 * time.Second)
		if s.backEnd.most != 2 {
			t.Errorf("%d at once", s.backEnd.most)
		}
		if sizes := s.backEnd.sizes(); len(sizes) > 10 {
			t.Errorf("%d requests: %v", len(sizes), sizes)
		}
		if n := s.observed(); n != [3]uint64{400, 0, 0} {
			t.Errorf("allowed, denied, failed: %v", n)
		}
	})
}

func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, func(a *Approval) { a.maxPending = 3 })
		all := s.askMany(session.ActionJoin, 3)
		full, same := s.ask(question1(session.ActionRenew, "x")), s.ask(question1(session.ActionJoin, "join00001"))
		synctest.Wait()
		if !full.over() || full.after != 0 || !errors.Is(full.err, errFull) {
			t.Errorf("after %s: %v", full.after, full.err)
		}
		s.run()
		if n := failures(append(all, same)); n != 0 {
			t.Errorf("%d failed", n)
		}
		if n := s.observed(); n != [3]uint64{4, 0, 1} {
			t.Errorf("allowed, denied, failed: %v", n)
		}
	})
}

// If an answer is malformed, only the requests to which the malformed part belongs fail.
func TestFailures(t *testing.T) {
	big := strings.Repeat(" ", 1<<20)
	for name, c := range map[string]struct {
		answer  func(context.Context, request) (reply, error)
		failed  int    // how many of the two requests, "a" and "b", must fail
		outcome string // the result label of the batch
		want    string // part of the error
		after   time.Duration
	}{
		"no answer": {down[request], 2, "failed", "connection refused", 0},
		"too late":  {hang[request], 2, "failed", "deadline", 2 * time.Second},
		"500":       {status[request](500), 2, "refused", "answered 500", 0},
		"401":       {status[request](401), 2, "refused", "answered 401", 0},
		"204":       {status[request](204), 2, "refused", "answered 204", 0},
		"redirect":  {status[request](307), 2, "refused", "answered 307", 0},
		"403 with decisions": {func(_ context.Context, r request) (reply, error) {
			said := decide(r, func(asks) string { return `"allow":false` })
			said.status = 403
			return said, nil
		}, 2, "refused", "answered 403", 0},
		"empty":    {status[request](200), 2, "malformed", "not of the form", 0},
		"not JSON": {func(context.Context, request) (reply, error) { return reply{status: 200, body: "<html>"}, nil }, 2, "malformed", "not of the form", 0},
		"too long": {func(_ context.Context, r request) (reply, error) {
			said := decide(r, func(asks) string { return `"allow":true` })
			said.body += big
			return said, nil
		}, 2, "malformed", "more than", 0},
		"long": {func(_ context.Context, r request) (reply, error) {
			said := decide(r, func(asks) string { return `"allow":true` })
			said.body += big[len(said.body):]
			return said, nil
		}, 0, "ok", "", 0},
		"nothing decided": {func(context.Context, request) (reply, error) {
			return reply{status: 200, body: `{"decisions":[{"id":"x","allow":false}]}`}, nil
		}, 2, "malformed", "none of the requests", 0},
		"one missing": {func(_ context.Context, r request) (reply, error) {
			return decide(r, func(q asks) string {
				if q.Session == "a" {
					return `"allow":true`
				}
				return ""
			}), nil
		}, 1, "ok", "no decision", 0},
		"one without allow": {func(_ context.Context, r request) (reply, error) {
			return decide(r, func(q asks) string {
				if q.Session == "a" {
					return `"allow":true`
				}
				return `"reason":"x"`
			}), nil
		}, 1, "ok", "not of the form", 0},
		"one until in milliseconds": {func(_ context.Context, r request) (reply, error) {
			return decide(r, func(q asks) string {
				if q.Session == "a" {
					return `"allow":true`
				}
				return `"allow":true,"until":1800000000000`
			}), nil
		}, 1, "ok", "looks like milliseconds", 0},
		"each until in milliseconds": {func(_ context.Context, r request) (reply, error) {
			return decide(r, func(asks) string { return `"allow":true,"until":1800000000000` }), nil
		}, 2, "malformed", "none of the requests: the decision's until: want Unix seconds; this looks like milliseconds", 0},
		"one twice": {func(_ context.Context, r request) (reply, error) {
			r.questions = append(r.questions, r.questions[1])
			return decide(r, func(q asks) string { return `"allow":true` }), nil
		}, 1, "ok", "more than one", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newApprovalStage(t, nil).run()
			s.backEnd.answer = c.answer
			a := s.ask(question1(session.ActionRenew, "a"))
			synctest.Wait()
			b := s.ask(question1(session.ActionRenew, "b"))
			if n := failures([]*asked{a, b}); n != c.failed {
				t.Errorf("%s: %d failed: %v, %v", name, n, a.err, b.err)
			}
			if a.answer.Allow != (a.err == nil) || b.answer.Allow != (b.err == nil) {
				t.Errorf("%s: %+v, %+v", name, a.answer, b.answer)
			}
			if c.want != "" && (b.err == nil || !strings.Contains(b.err.Error(), c.want)) {
				t.Errorf("%s: error %v, want one that says %q", name, b.err, c.want)
			}
			if c.failed == 1 && a.err != nil {
				t.Errorf("%s: the wrong one failed: %v", name, a.err)
			}
			if b.after != c.after+gatherFor {
				t.Errorf("%s: after %s", name, b.after)
			}
			// A malformed decision is logged even if the batch as a whole succeeded.
			mistake := c.outcome == "ok" && c.want != "" && name != "one missing"
			if logged := strings.Contains(s.log.String(), "a decision cannot be read and counts as no answer"); logged != mistake {
				t.Errorf("%s: logged: %t", name, logged)
			}
			s.stop()
			for _, o := range []string{"ok", "refused", "malformed", "failed"} {
				counter, err := s.approval.metrics.requests.GetMetricWithLabelValues(o)
				if err != nil {
					t.Fatal(err)
				}
				want := 0.0
				if o == c.outcome {
					want = 1
				}
				if got := value(t, counter); got != want {
					t.Errorf("%s: %v requests are %s", name, got, o)
				}
			}
		})
	}
}

// A request is not sent once all its callers have given up, and it does not delay other requests.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, func(a *Approval) { a.maxPending = 3 })
		ctx, cancel := context.WithCancel(t.Context())
		late, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		gone, joined := s.askWith(ctx, question1(session.ActionJoin, "a")), s.askWith(ctx, question1(session.ActionJoin, "b"))
		stays := s.ask(question1(session.ActionJoin, "b"))
		short := s.askWith(late, question1(session.ActionRenew, "c"))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !gone.over() || !joined.over() || !errors.Is(gone.err, context.Canceled) || !errors.Is(joined.err, context.Canceled) {
			t.Errorf("%v, %v", gone.err, joined.err)
		}
		wait(time.Second)
		if !errors.Is(short.err, context.DeadlineExceeded) {
			t.Errorf("%v", short.err)
		}
		if n := s.approval.queue.len(); n != 1 {
			t.Errorf("%d wait", n)
		}
		never := s.askWith(ctx, question1(session.ActionJoin, "d"))
		s.run()
		if n := failures([]*asked{stays}); n != 0 {
			t.Error(stays.err)
		}
		if <-never.done; !errors.Is(never.err, context.Canceled) {
			t.Error(never.err)
		}
		if diff := cmp.Diff([]int{1}, s.backEnd.sizes()); diff != "" {
			t.Error(diff)
		}
		// If one caller gives up while the batch is in progress, the other callers still get their answer.
		s.backEnd.answer = after(time.Second, allow)
		ctx, cancel = context.WithCancel(t.Context())
		gone, stays = s.askWith(ctx, question1(session.ActionJoin, "e")), s.ask(question1(session.ActionJoin, "e"))
		wait(500 * time.Millisecond)
		cancel()
		if n := failures([]*asked{gone, stays}); n != 1 || stays.err != nil {
			t.Errorf("%v, %v", gone.err, stays.err)
		}
		if n := s.observed(); n != [3]uint64{2, 0, 1} {
			t.Errorf("allowed, denied, failed: %v", n)
		}
		if s.gauge("refresher_authorize_waiting") != 0 || len(s.approval.queue.shared) != 0 {
			t.Error("somebody is left")
		}
	})
}

// A request that was never sent fails after `patience`.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, func(a *Approval) { a.patience = 3 * time.Second })
		a := s.ask(question1(session.ActionJoin, "a"))
		<-a.done
		if a.after != 3*time.Second || !errors.Is(a.err, errSlow) {
			t.Errorf("after %s: %v", a.after, a.err)
		}
		if n := s.approval.queue.len(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// When Run ends, all requests fail, and none of these failures opens the circuit.
func TestApprovalStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		s.backEnd.answer = hang
		all := s.askMany(session.ActionJoin, 1000) // 8 batches are in progress, and 2 wait
		wait(time.Millisecond)
		s.stop()
		took := time.Since(s.began)
		if n := failures(all); n != 1000 || took != time.Millisecond {
			t.Errorf("%d failed, after %s", n, took)
		}
		for _, a := range all {
			if !errors.Is(a.err, errStopped) {
				t.Fatal(a.err)
			}
		}
		if _, err := s.approval.Request(t.Context(), question1(session.ActionJoin, "late")); !errors.Is(err, errStopped) {
			t.Error(err)
		}
		if s.log.String() != "" || s.gauge("refresher_authorize_circuit_open") != 0 {
			t.Errorf("logged: %s", s.log)
		}
	})
}

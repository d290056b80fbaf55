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

func TestApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = after(20*time.Millisecond, func(_ context.Context, r *request) reply {
			return decide(r, func(q approvalRequest) string {
				if q.Session == "broke" {
					return `"allow":false,"reason":"no\ncredit","until":7`
				}
				return `"allow":true,"reason":"paid","until":1800000000`
			})
		})
		allowed := h.ask(t.Context(), approvalOf(session.ActionRenew, "paid"))
		denied := h.ask(t.Context(), approvalOf(session.ActionJoin, "broke"))
		wait(24 * time.Millisecond)
		if allowed.over() || denied.over() || h.metric("refresher_authorize_waiting") != 2 {
			t.Errorf("answered too soon, or %v wait", h.metric("refresher_authorize_waiting"))
		}
		wait(time.Millisecond)
		if want := (Answer{Allow: true, Reason: "paid", Until: 1800000000}); allowed.answer != want || allowed.err != nil {
			t.Errorf("%+v, %v", allowed.answer, allowed.err)
		}
		if want := (Answer{Reason: "no credit"}); denied.answer != want || denied.err != nil {
			t.Errorf("%+v, %v", denied.answer, denied.err)
		}
		got := h.got[0]
		got.header.Del("webhook-signature") // harness.RoundTrip has verified this signature, so it is not compared here
		want := http.Header{
			"Authorization": {"Basic c2NvdHQ6bGlvbg=="}, "Content-Type": {"application/json"}, "User-Agent": {"refresher"},
			"Webhook-Id": {got.Requests[0].ID}, "Webhook-Timestamp": {fmt.Sprint(got.at.Unix())},
		}
		if diff := cmp.Diff(want, got.header); diff != "" {
			t.Error(diff)
		}
		if q, id := got.Requests[0], got.Requests[0].ID; q != (approvalRequest{id, "join", "app", "broke", "ana"}) {
			t.Errorf("%+v", q)
		}
		if n := h.observed(); n != [3]float64{1, 1, 0} || h.metric("refresher_authorize_waiting") != 0 {
			t.Errorf("allowed, denied, failed: %v", n)
		}
		if h.log.Len() > 0 {
			t.Errorf("logged: %s", &h.log)
		}
	})
}

// A request waits 5 ms for further requests, but a full batch of 100 is sent at once.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.ask(t.Context(), approvalOf(session.ActionRenew, "a"))
		wait(4 * time.Millisecond)
		h.ask(t.Context(), approvalOf(session.ActionJoin, "b"))
		wait(2 * time.Millisecond)
		h.ask(t.Context(), approvalOf(session.ActionJoin, "c"))
		wait(time.Second)
		h.askMany(session.ActionJoin, 250)
		wait(time.Second)
		var at []time.Duration
		for _, r := range h.got {
			at = append(at, r.at.Sub(h.began))
		}
		if diff := cmp.Diff([]int{2, 1, 100, 100, 50}, h.sizes()); diff != "" {
			t.Error(diff)
		}
		const ms = time.Millisecond
		if diff := cmp.Diff([]time.Duration{5 * ms, 11 * ms, 1006 * ms, 1006 * ms, 1011 * ms}, at); diff != "" {
			t.Error(diff)
		}
	})
}

// Equal requests of one session are sent once, while they wait in the queue.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = after(time.Second, accept)
		same, nameless := approvalOf(session.ActionRenew, "a"), approvalOf(session.ActionJoin, "")
		otherAction, otherChannel := approvalOf(session.ActionJoin, "a"), approvalOf(session.ActionRenew, "a")
		otherChannel.Identity.RTC.Channel = "d"
		var all []*call
		for range 10 {
			for _, q := range []Request{same, otherAction, otherChannel, nameless} {
				all = append(all, h.ask(t.Context(), q))
			}
		}
		wait(10 * time.Millisecond)
		all = append(all, h.ask(t.Context(), same), h.ask(t.Context(), same))
		if n := failures(all...); n != 0 {
			t.Errorf("%d failed", n)
		}
		if diff := cmp.Diff([]int{13, 1}, h.sizes()); diff != "" {
			t.Error(diff)
		}
		if n := h.observed(); n != [3]float64{42, 0, 0} {
			t.Errorf("allowed, denied, failed: %v", n)
		}
	})
}

// This test checks the order between joins, resumes and renewals. TestApprovalQueue checks the order among requests of
// one kind.
func TestJoinsAndResumesGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		for _, action := range []session.Action{session.ActionRenew, session.ActionJoin, session.ActionResume} {
			h.askMany(action, 60)
		}
		h.run()
		wait(time.Second)
		got := make(map[string]int)
		for _, q := range h.got[0].Requests {
			got[q.Action]++
		}
		if diff := cmp.Diff(map[string]int{"join": 60, "resume": 15, "renew": 25}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// The first batches start together, up to the concurrency limit of 8; later batches start at the rate limit.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = after(50*time.Millisecond, accept)
		all := h.askMany(session.ActionJoin, 10_000)
		if got := h.metric("refresher_authorize_waiting"); got != 10_000 {
			t.Errorf("%v wait", got)
		}
		if n := failures(all...); n != 0 {
			t.Errorf("%d failed", n)
		}
		if n, took := len(h.got), time.Since(h.began); n != 100 || took > 2*time.Second || h.most != 8 {
			t.Errorf("%d batches in %s, %d at once", n, took, h.most)
		}
		for i, r := range h.got {
			if due := time.Duration(i-7) * time.Second / 50; r.at.Sub(h.began) < due-time.Millisecond {
				t.Errorf("batch %d after %s, want %s", i, r.at.Sub(h.began), due)
			}
		}
	})
}

func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.approval.maxPending = 3
		waiting := h.askMany(session.ActionJoin, 3)
		full, shared := h.ask(t.Context(), approvalOf(session.ActionRenew, "x")), h.ask(t.Context(), approvalOf(session.ActionJoin, "join00001"))
		synctest.Wait()
		if !full.over() || full.after != 0 || !errors.Is(full.err, errFull) {
			t.Errorf("after %s: %v", full.after, full.err)
		}
		h.run()
		if n := failures(append(waiting, shared)...); n != 0 {
			t.Errorf("%d failed", n)
		}
	})
}

// TestDecide tests which answers count as failures. This test looks at the log: a malformed decision is logged, and a
// missing decision is not.
func TestFailures(t *testing.T) {
	// ofB returns a back end that allows request a, and whose decision about request b has the given fields.
	ofB := func(fields string) func(context.Context, *request) reply {
		return func(_ context.Context, r *request) reply {
			return decide(r, func(q approvalRequest) string {
				if q.Session == "a" {
					return `"allow":true`
				}
				return fields
			})
		}
	}
	for _, c := range []struct {
		answer   func(context.Context, *request) reply
		failures int
		outcome  string
		log      string
		after    time.Duration
	}{
		{hang, 2, "failed", "an approval request failed", 2 * time.Second},
		{status(500), 2, "refused", "an approval request failed", 0},
		{status(200), 2, "malformed", "an approval request failed", 0},
		{ofB(`"allow":"no"`), 1, "ok", "a malformed decision counts as no answer", 0},
		{ofB(""), 1, "ok", "", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t).run()
			h.answer = c.answer
			a, b := h.ask(t.Context(), approvalOf(session.ActionRenew, "a")), h.ask(t.Context(), approvalOf(session.ActionRenew, "b"))
			if n := failures(a, b); n != c.failures || b.err == nil || b.after != c.after+gatherFor {
				t.Errorf("%s: %d failed after %s", c.outcome, n, b.after)
			}
			if n := h.metric("refresher_authorize_requests_total", c.outcome); n != 1 {
				t.Errorf("%s: %v", c.outcome, n)
			}
			if h.lines("") != min(1, len(c.log)) || !strings.Contains(h.log.String(), c.log) {
				t.Errorf("%s: logged %s, want %q", c.outcome, &h.log, c.log)
			}
		})
	}
}

// A request is not sent once all its callers have given up, and it does not delay other requests.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		cancelled, cancel := context.WithCancel(t.Context())
		late, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		alone, shared := h.ask(cancelled, approvalOf(session.ActionJoin, "a")), h.ask(cancelled, approvalOf(session.ActionJoin, "b"))
		stays := h.ask(t.Context(), approvalOf(session.ActionJoin, "b"))
		short := h.ask(late, approvalOf(session.ActionRenew, "c"))
		synctest.Wait()
		cancel()
		never := h.ask(cancelled, approvalOf(session.ActionJoin, "d"))
		wait(time.Second)
		for _, c := range []*call{alone, shared, never} {
			if !c.over() || !errors.Is(c.err, context.Canceled) {
				t.Error(c.err)
			}
		}
		if !errors.Is(short.err, context.DeadlineExceeded) {
			t.Error(short.err)
		}
		h.run()
		if failures(stays) != 0 || len(h.got) != 1 || len(h.got[0].Requests) != 1 {
			t.Errorf("%v, batches of %v", stays.err, h.sizes())
		}

		h.answer = after(time.Second, accept)
		sent, cancel := context.WithCancel(t.Context())
		leaves, stays := h.ask(sent, approvalOf(session.ActionJoin, "e")), h.ask(t.Context(), approvalOf(session.ActionJoin, "e"))
		wait(500 * time.Millisecond)
		cancel()
		if failures(leaves, stays) != 1 || stays.err != nil {
			t.Errorf("%v, %v", leaves.err, stays.err)
		}
		if n := h.observed(); n != [3]float64{2, 0, 1} {
			t.Errorf("allowed, denied, failed: %v", n)
		}
		if h.metric("refresher_authorize_waiting") != 0 || len(h.approval.queue.shared) != 0 {
			t.Error("a request is left")
		}
	})
}

// A request that was never sent fails after `patience`.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.approval.patience = 3 * time.Second
		a := h.ask(t.Context(), approvalOf(session.ActionJoin, "a"))
		<-a.done
		if a.after != 3*time.Second || !errors.Is(a.err, errSlow) || h.approval.queue.len() != 0 {
			t.Errorf("after %s: %v", a.after, a.err)
		}
	})
}

// When Run ends, all requests fail, and none of these failures opens the circuit.
func TestApprovalStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = hang
		all := h.askMany(session.ActionJoin, 1000) // 8 batches are in progress, and 2 wait
		took := h.stop()
		all = append(all, h.ask(t.Context(), approvalOf(session.ActionJoin, "late")))
		if n := failures(all...); n != 1001 || took != 0 {
			t.Errorf("%d failed, after %s", n, took)
		}
		for _, a := range all {
			if !errors.Is(a.err, errStopped) {
				t.Fatal(a.err)
			}
		}
		if h.log.Len() > 0 || h.metric("refresher_authorize_circuit_open") != 0 {
			t.Errorf("logged: %s", &h.log)
		}
	})
}

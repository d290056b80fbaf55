package hook

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/session"
)

// While the back end is down, only probes are sent. Other requests fail at once, with the error of the newest probe.
func TestApprovalDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = status(500)
		for i := range approvalTrip {
			if open := h.metric("refresher_authorize_circuit_open"); open != 0 {
				t.Errorf("open after %d failures", i)
			}
			failures(h.askMany(session.ActionJoin, 1)...)
		}
		if open := h.metric("refresher_authorize_circuit_open"); open != 1 {
			t.Error("not open after 5 failures")
		}
		h.answer = down
		for second := range 3600 {
			a := h.askMany(session.ActionRenew, 1)[0]
			if failures(a) != 1 || a.after > gatherFor {
				t.Fatalf("after %s: %v", a.after, a.err)
			}
			if second > 3 && !strings.Contains(a.err.Error(), "connection refused") {
				t.Fatalf("does not name the newest error: %v", a.err)
			}
			wait(time.Second - a.after)
		}
		// The waits between probes are 1 s to 30 s, 15.5 s on average, so about 232 probes are sent in an hour.
		probes := h.got[approvalTrip:]
		if n := len(probes); n < 180 || n > 300 {
			t.Errorf("%d probes", n)
		}
		h.answer = after(time.Second, accept)
		wait(31 * time.Second)
		if n := failures(h.askMany(session.ActionJoin, 1000)...); n != 900 {
			t.Errorf("%d failed, want all but the probe", n)
		}
		if n := failures(h.askMany(session.ActionJoin, 1000)...); n != 0 {
			t.Errorf("%d failed after the probe", n)
		}
		for _, line := range []string{
			`an approval request failed" endpoint=https://app.test error="the endpoint answered 500" unlogged=0`,
			"the back end is failing", "the back end answers again",
		} {
			if h.lines(line) != 1 {
				t.Errorf("no line, or more than one, with %s", line)
			}
		}
		if strings.Contains(h.log.String(), "/hooks") || strings.Contains(h.log.String(), "ana") {
			t.Errorf("the log has the path or a subject: %s", &h.log)
		}
	})
}

// When the circuit opens, all queued requests fail at once.
func TestOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = hang
		all := h.askMany(session.ActionRenew, 5000)
		if n := failures(all...); n != 5000 {
			t.Errorf("%d failed", n)
		}
		late := 0
		for _, a := range all {
			if a.after > 2*time.Second {
				late++
			}
		}
		// 8 batches start at once. When four of them fail, four others start in their place. The fifth failure opens
		// the circuit, so at most 12 batches are sent.
		if n := len(h.got); n > 12 || late > 400 {
			t.Errorf("%d batches, %d requests waited longer than the timeout", n, late)
		}
	})
}

// openCircuit opens the circuit of an Approval that is not running, and waits until a probe may be sent.
func (h *harness) openCircuit() {
	for range approvalTrip {
		h.approval.running++
		h.approval.finish(&batch{err: errRefused}, h.approval.circuit.begin(), outcome{limit: maxApprovalWait})
	}
	wait(2 * time.Second)
}

// While the circuit is open, at most one batch of requests waits.
func TestFullProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.openCircuit()
		all := h.askMany(session.ActionJoin, 150)
		h.run()
		if n := failures(all...); n != 50 || len(h.got) != 1 {
			t.Errorf("%d failed, want 50; batches of %v", n, h.sizes())
		}
	})
}

// If a batch that began before the circuit opened returns a Retry-After, the next probe is postponed, and the requests
// that wait for the probe fail at once.
func TestLateRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		began := h.approval.circuit.begin()
		h.approval.running++
		h.openCircuit()
		a := h.askMany(session.ActionJoin, 1)[0]
		if a.over() {
			t.Fatal(a.err)
		}
		h.approval.finish(&batch{err: errRefused}, began, outcome{retryAfter: 10 * time.Second, limit: maxApprovalWait})
		synctest.Wait()
		if !a.over() || a.err == nil || a.after != 0 {
			t.Errorf("after %s: %v", a.after, a.err)
		}
	})
}

func TestApprovalRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t).run()
		h.answer = func(context.Context, *request) reply { return reply{status: 503, retryAfter: "3600"} }
		failures(h.askMany(session.ActionJoin, 1)...)
		h.answer = accept
		wait(maxApprovalWait - time.Millisecond)
		if failures(h.askMany(session.ActionJoin, 1)...) != 1 {
			t.Error("asked too soon")
		}
		wait(time.Millisecond)
		if failures(h.askMany(session.ActionJoin, 1)...) != 0 {
			t.Error("not asked after the longest wait")
		}
	})
}

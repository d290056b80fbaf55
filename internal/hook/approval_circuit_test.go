package hook

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
)

// value returns the value of the counter c.
func value(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	return testutil.ToFloat64(c)
}

// While the back end is down, only probes are sent, and requests fail at once.
func TestApprovalDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		s.backEnd.answer = down
		for i := range 5 {
			if open := s.gauge("refresher_authorize_circuit_open"); open != 0 {
				t.Errorf("open after %d failures", i)
			}
			if n := failures(s.askMany(session.ActionJoin, 1)); n != 1 {
				t.Error("answered")
			}
		}
		if open := s.gauge("refresher_authorize_circuit_open"); open != 1 {
			t.Error("not open after 5 failures")
		}
		// Ten requests a second are made for an hour.
		for range 36_000 {
			a := s.ask(question1(session.ActionRenew, "a"))
			if <-a.done; a.err == nil || a.after > gatherFor {
				t.Fatalf("after %s: %v", a.after, a.err)
			}
			if a.after == 0 && !strings.Contains(a.err.Error(), "connection refused") {
				t.Fatalf("does not say why: %v", a.err)
			}
			wait(100*time.Millisecond - a.after)
		}
		// The waits between probes are 1 s to 30 s, 15.5 s on average.
		if n := len(s.backEnd.requests()); n < 180 || n > 300 {
			t.Errorf("%d requests", n)
		}
		for i, r := range s.backEnd.requests()[6:] {
			if since := r.at.Sub(s.backEnd.requests()[i+5].at); since < time.Second || since > 31*time.Second {
				t.Fatalf("a probe %s after the one before", since)
			}
		}
		s.backEnd.answer = after(time.Second, allow)
		wait(31 * time.Second)
		if n := failures(s.askMany(session.ActionJoin, 1000)); n != 900 {
			t.Errorf("%d failed, want all but the probe", n)
		}
		if n := failures(s.askMany(session.ActionJoin, 1000)); n != 0 {
			t.Errorf("%d failed after the probe", n)
		}
		if open := s.gauge("refresher_authorize_circuit_open"); open != 0 {
			t.Error("still open")
		}
		if failing, again := s.log.lines("endpoint is failing"), s.log.lines("endpoint answers again"); failing != 1 || again != 1 {
			t.Errorf("logged %s", s.log)
		}
		for _, hidden := range []string{"scott", "lion", "tiger", "/ask", "ana"} {
			if strings.Contains(s.log.String(), hidden) {
				t.Errorf("the log holds %q: %s", hidden, s.log)
			}
		}
		if !strings.Contains(s.log.String(), "endpoint=https://app.test ") {
			t.Errorf("logged %s", s.log)
		}
	})
}

// When the circuit opens, all queued requests fail at once.
func TestOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		s.backEnd.answer = hang
		all := s.askMany(session.ActionRenew, 5000)
		if n := failures(all); n != 5000 {
			t.Errorf("%d failed", n)
		}
		late := 0
		for _, a := range all {
			if a.after > 2*time.Second {
				late++
			}
		}
		// Four batches fail before the fifth opens the circuit; four more have started by then.
		if n := len(s.backEnd.requests()); n > 12 || late > 400 {
			t.Errorf("%d requests, %d questions waited longer", n, late)
		}
	})
}

func TestOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		s.backEnd.answer = status[request](500)
		for range 5 {
			failures(s.askMany(session.ActionJoin, 1))
		}
		wait(2 * time.Second) // the first wait is at most 2 s
		s.backEnd.answer = after(time.Second, allow)
		probe := s.askMany(session.ActionRenew, 1)
		wait(10 * time.Millisecond)
		other := s.askMany(session.ActionJoin, 1)
		if !other[0].over() || other[0].err == nil {
			t.Error("waits for the probe")
		}
		if failures(probe) != 0 || failures(s.askMany(session.ActionJoin, 1)) != 0 {
			t.Error("not closed by the probe")
		}
		if n := len(s.backEnd.requests()); n != 7 {
			t.Errorf("%d requests", n)
		}
	})
}

// An error for a request that was not sent names the newest failure of the endpoint.
func TestNewCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		s.backEnd.answer = status[request](500)
		for range 5 {
			failures(s.askMany(session.ActionJoin, 1))
		}
		wait(2 * time.Second)
		s.backEnd.answer = down
		failures(s.askMany(session.ActionJoin, 1)) // the probe
		for range 2 {
			if a := s.askMany(session.ActionJoin, 1)[0]; failures([]*asked{a}) != 1 || !strings.Contains(a.err.Error(), "connection refused") {
				t.Error(a.err)
			}
		}
		if n := len(s.backEnd.requests()); n != 6 {
			t.Errorf("%d requests", n)
		}
	})
}

// While the circuit is open, at most one batch of requests waits.
func TestFullProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil) // Run is called later, so requests stay in the queue
		for range approvalTrip {
			s.approval.running++
			s.approval.finish(&batch{err: errRefused}, s.approval.circuit.begin(), outcome{limit: maxApprovalWait})
		}
		wait(2 * time.Second)
		all := s.askMany(session.ActionJoin, 150)
		s.run()
		if n := failures(all); n != 50 {
			t.Errorf("%d failed, want 50", n)
		}
		if sizes := s.backEnd.sizes(); len(sizes) != 1 || sizes[0] != 100 {
			t.Errorf("requests of %v", sizes)
		}
	})
}

// If a batch that began before the circuit opened returns a Retry-After, the requests that wait for the next
// probe fail at once.
func TestLateRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil)
		old := s.approval.circuit.begin()
		s.approval.running++
		for range approvalTrip {
			s.approval.running++
			s.approval.finish(&batch{err: errRefused}, s.approval.circuit.begin(), outcome{limit: maxApprovalWait})
		}
		wait(2 * time.Second)
		a := s.askMany(session.ActionJoin, 1)[0]
		if a.over() {
			t.Fatal(a.err)
		}
		s.approval.finish(&batch{err: errRefused}, old, outcome{retryAfter: 10 * time.Second, limit: maxApprovalWait})
		synctest.Wait()
		if !a.over() || a.err == nil || a.after != 0 {
			t.Errorf("after %s: %v", a.after, a.err)
		}
	})
}

// A Retry-After up to the limit is honoured.
func TestApprovalRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{"7": 7 * time.Second, "3600": 30 * time.Second, "0": time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := newApprovalStage(t, nil).run()
			s.backEnd.answer = func(context.Context, request) (reply, error) { return reply{status: 503, retryAfter: text}, nil }
			failures(s.askMany(session.ActionJoin, 1))
			opened := time.Now()
			s.backEnd.answer = nil
			for s.gauge("refresher_authorize_circuit_open") == 1 {
				wait(100 * time.Millisecond)
				failures(s.askMany(session.ActionRenew, 1))
			}
			// A Retry-After below 2 s is replaced by a random wait of at most 2 s.
			if took := time.Since(opened); took < want || took > max(want, 2*time.Second)+200*time.Millisecond {
				t.Errorf("%s: asked again after %s", text, took)
			}
		})
	}
}

// Failures with a success between them do not open the circuit. The first failure is logged.
func TestUnsteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newApprovalStage(t, nil).run()
		for range 20 {
			s.backEnd.answer = status[request](500)
			for range 4 {
				failures(s.askMany(session.ActionJoin, 1))
			}
			s.backEnd.answer = nil
			if failures(s.askMany(session.ActionJoin, 1)) != 0 {
				t.Fatal("not asked")
			}
		}
		const line = `level=WARN msg="a request to the endpoint failed" endpoint=https://app.test error="the endpoint answered 500" unlogged=0`
		if log := s.log.String(); !strings.Contains(log, line) || strings.Count(log, "\n") != 1 {
			t.Errorf("logged %s; want one line in a minute, %s", log, line)
		}
	})
}

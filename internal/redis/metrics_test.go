package redis

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
)

// operations returns, by operation, how often it was counted and how often it failed.
func (s *harness) operations(t *testing.T) map[string][2]uint64 {
	t.Helper()
	counts := make(map[string][2]uint64)
	families, err := s.registry.Gather()
	must(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if len(m.GetLabel()) == 0 {
				continue
			}
			name := m.GetLabel()[0].GetValue()
			count := counts[name]
			if family.GetName() == "refresher_store_operation_seconds" {
				count[0] += m.GetHistogram().GetSampleCount()
			} else {
				count[1] += uint64(m.GetCounter().GetValue())
			}
			counts[name] = count
		}
	}
	return counts
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	expect := func(what string, want map[string][2]uint64) {
		t.Helper()
		if diff := cmp.Diff(want, s.operations(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	// All counters exist from the start, so that a rate of a counter is never missing.
	expect("at first", map[string][2]uint64{"save": {0, 0}, "wish": {0, 0}, "acquire": {0, 0}, "sweep": {0, 0}, "claim": {0, 0}, "list": {0, 0}, "revocations": {0, 0}, "nodes": {0, 0}})
	if problems, err := testutil.GatherAndLint(s.registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}

	ended := record("S")
	ended.State, ended.Reason = session.Ended, session.EndLeft
	s.saved(t, store.Done, ended, overdue("T"))
	if _, err := s.Acquire(within(t), store.AcquireRequest{Session: "S", Epoch: 1, Node: "a"}); err == nil { // an answer
		t.Error("no error")
	}
	s.swept(t, "b") // the sweep includes a claim
	s.swept(t, "b")
	expect("after some of each", map[string][2]uint64{"save": {1, 0}, "wish": {0, 0}, "acquire": {1, 0}, "sweep": {2, 0}, "claim": {1, 0}, "list": {0, 0}, "revocations": {0, 0}, "nodes": {0, 0}})

	renewed := record("R")
	renewed.Version = 2 // the session has no hash, so the record is sent a second time, as a whole
	s.saved(t, store.Done, renewed)
	expect("after a miss", map[string][2]uint64{"save": {3, 0}, "wish": {0, 0}, "acquire": {1, 0}, "sweep": {2, 0}, "claim": {1, 0}, "list": {0, 0}, "revocations": {0, 0}, "nodes": {0, 0}})

	server.Kill()
	s.fails(t, "killed", patience)
	expect("without a server", map[string][2]uint64{"save": {4, 1}, "wish": {1, 1}, "acquire": {2, 1}, "sweep": {3, 1}, "claim": {1, 0}, "list": {3, 3}, "revocations": {4, 4}, "nodes": {2, 2}})
	for _, name := range []string{"refresher_store_operation_seconds", "refresher_store_errors_total"} {
		if n, err := testutil.GatherAndCount(s.registry, name); err != nil || n != 8 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if len(s.log.lines("level=WARN")) > 0 || strings.Contains(s.log.text.String(), "level=ERROR") {
		t.Error(s.log.text.String())
	}
}

func TestClockOffset(t *testing.T) {
	t.Parallel()
	server, s := startStore(t)
	s.swept(t, "a")
	if offset := testutil.ToFloat64(s.metrics.offset); math.Abs(offset) > 5 {
		t.Errorf("on one machine: %f s", offset)
	}
	ahead := open(t, server.URL(), func(c *Config) { c.now = func() time.Time { return time.Now().Add(time.Hour) } })
	ahead.swept(t, "a")
	if offset := testutil.ToFloat64(ahead.metrics.offset); math.Abs(offset-time.Hour.Seconds()) > 5 {
		t.Errorf("an hour ahead: %f s", offset)
	}
}

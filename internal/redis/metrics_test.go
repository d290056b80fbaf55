package redis

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
)

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
	expect("at first, so that a rate is never missing", map[string][2]uint64{"save": {}, "wish": {}, "acquire": {}, "sweep": {}, "claim": {}, "list": {}, "revocations": {}, "nodes": {}})
	if problems, err := testutil.GatherAndLint(s.registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	ended, renewed := record("S"), record("R")
	ended.State, ended.Reason = session.Ended, session.EndLeft
	renewed.Version = 2 // Redis has no hash of this session, so Save sends the record a second time, with the grant
	s.saved(t, store.Done, ended, overdue("T"), renewed)
	if _, err := s.Acquire(within(t), store.AcquireRequest{Session: "S", Epoch: 1, Node: "a"}); err == nil {
		t.Error("no error")
	}
	s.swept(t, "b")
	s.swept(t, "b")
	server.Kill()
	s.fails(within(t), t, "killed")
	expect("without a server", map[string][2]uint64{"save": {3, 1}, "wish": {1, 1}, "acquire": {2, 1}, "sweep": {3, 1}, "claim": {1, 0}, "list": {3, 3}, "revocations": {4, 4}, "nodes": {2, 2}})
	if got := s.log.lines("level="); len(got) > 0 {
		t.Error(got)
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

package store

import (
	"context"
	"testing"
	"time"

	"refresher/internal/session"
)

// The embedded store has a time for each shard before which no session is due, so that a
// sweep need not scan all sessions.
func TestMemoryKnowsTheEarliestDueTime(t *testing.T) {
	start := time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC)
	now := start
	m := NewMemory(func() time.Time { return now })
	due := func(d time.Duration) session.UnixMilli { return session.MilliOf(start.Add(d)) }
	shard := &m.shards[ShardOf("S")]
	save := func(version uint64, at session.UnixMilli) {
		r := Record{Record: session.Record{ResumeClaims: session.ResumeClaims{Session: "S", Epoch: 1}, State: session.Attached}, Node: "a", Version: version, Due: at}
		if _, err := m.Save(context.Background(), []Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want session.UnixMilli
	}{
		{"a session", func() { save(1, due(time.Minute)) }, due(time.Minute)},
		{"a renewal, which leaves the bound as it was", func() { save(2, due(time.Hour)) }, due(time.Minute)},
		{"a sweep with nothing overdue by the bound", func() {}, due(time.Minute)},
		{"a sweep that looks", func() { now = now.Add(2 * time.Minute) }, due(time.Hour)},
		{"an earlier time", func() { save(3, due(3*time.Minute)) }, due(3 * time.Minute)},
	} {
		step.do()
		swept, err := m.Sweep(context.Background(), "a", Claim)
		if err != nil || len(swept[ShardOf("S")].Overdue) > 0 || shard.earliest != step.want {
			t.Errorf("%s: nothing is due before %d, want %d; %+v, %v", step.name, shard.earliest, step.want, swept[ShardOf("S")].Overdue, err)
		}
	}
}

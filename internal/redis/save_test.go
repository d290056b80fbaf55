package redis

import (
	"slices"
	"testing"

	"refresher/internal/store"
)

// The renewals of one second, 1,300 of them, are saved by one script call for each shard,
// in one pipeline. On the node a record takes ten allocations: its key, fence, state and
// due time, and those of the client library.
func TestSaveOfManyRenewals(t *testing.T) {
	const renewals, most = 1300, 11
	c := fill(t, renewals)
	seen := &pipelines{}
	c.store.client.AddHook(seen)
	records := make([]store.Record, renewals)
	renew := func() {
		for i := range records {
			records[i] = c.renewed(i)
		}
	}
	renew()
	c.save(records)
	if !slices.Equal(seen.scripts, []int{store.Shards}) {
		t.Errorf("pipelines with %v script calls, want one with %d", seen.scripts, store.Shards)
	}
	renewing := testing.AllocsPerRun(10, renew)
	saving := testing.AllocsPerRun(10, func() {
		renew()
		c.save(records)
	})
	if each := (saving - renewing) / renewals; each > most {
		t.Errorf("%.1f allocations a record, want at most %d", each, most)
	}
}

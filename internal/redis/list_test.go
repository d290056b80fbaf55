package redis

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/internal/store/storetest"
)

func (s *harness) listAll(t *testing.T, limit int) (ids []string) {
	t.Helper()
	for q := (store.ListQuery{Limit: limit}); ; {
		records, next, err := store.List(within(t), s, q)
		must(t, err)
		for _, r := range records {
			ids = append(ids, r.Session)
		}
		if q.After = next; next == "" {
			return ids
		}
	}
}

func TestScheduledUntilTheEndIsDelivered(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	r := overdue("S")
	for _, step := range []struct {
		name      string
		epoch     uint64
		reason    session.EndReason
		delivered store.Delivered
		fields    string
		scheduled bool
	}{
		{"open", 1, "", 0, "f\ns\ng\nc\nu\nm", true},
		{"open, renewed", 1, "", 0, "f\ns\ng\nc\nu\nm", true},
		{"expired", 1, session.EndExpired, 0, "f\ns\ng\nc\nu\nm", true},
		{"expired, delivered", 1, session.EndExpired, store.DeliveredEnd, "", false},
		{"revoked", 2, session.EndRevoked, 0, "f\ns\ng\nc\nu\nm", true},
		{"revoked, delivered", 2, session.EndRevoked, store.DeliveredEnd, "f\ns\ne", false},
		{"revoked, delivered again", 2, session.EndRevoked, store.DeliveredEnd, "f\ns\ne", false},
	} {
		r.Epoch, r.Version, r.Reason, r.Delivered = step.epoch, r.Version+1, step.reason, step.delivered
		if step.reason != "" {
			r.State, r.Due = session.Ended, session.MilliOf(begin)
		}
		s.saved(t, store.Done, r)
		fields, scheduled := server.Do("HKEYS", s.hash("S")), server.Do("ZSCORE", s.due("S"), "S") != "(nil)"
		if fields != step.fields || scheduled != step.scheduled {
			t.Errorf("%s: fields %q, scheduled %v", step.name, fields, scheduled)
		}
	}
	ttl, err := strconv.ParseInt(server.Do("TTL", s.hash("S")), 10, 64)
	if want := int64(r.Terms.Until - session.SecOf(begin)); err != nil || ttl < want-60 || ttl > want {
		t.Errorf("the tombstone lives for %d s, %v, want %d s", ttl, err, want)
	}
}

// TestListCommandsAreShort checks that no command of a listing holds Redis for a millisecond, with
// as many sessions in a shard as a service with a million has. It measures the processor time of
// Redis, since on a busy machine Redis may have to wait for a processor.
func TestListCommandsAreShort(t *testing.T) {
	t.Parallel()
	const sessions, hold = 1_000_000 / store.Shards, time.Millisecond
	server, s := startAt(t)
	ids := make([]string, sessions)
	_, err := s.client.Pipelined(within(t), func(p goredis.Pipeliner) error {
		for i := range ids {
			ids[i] = fmt.Sprintf("%026d", i)
			p.ZAdd(t.Context(), s.keys.due[0], goredis.Z{Score: float64(begin.UnixMilli() + int64(i)*7), Member: ids[i]})
		}
		return nil
	})
	must(t, err)
	commands, cpu := server.Commands(), server.CPU()
	found, err := s.IDs(within(t), 0)
	commands, cpu = server.Commands()-commands, server.CPU()-cpu
	if err != nil || !slices.Equal(found, ids) {
		t.Errorf("%d ids, %v", len(found), err)
	}
	if n := int64(sessions/scanCount) + 4; commands > n { // 4 more commands than scans: they open a connection and read the processor time
		t.Errorf("%d commands, want at most %d", commands, n)
	}
	if each := cpu / time.Duration(commands); each > hold {
		t.Errorf("each command takes Redis %s", each)
	}

	ids = storetest.InShard(1, store.ListLimit)
	for _, id := range ids {
		s.saved(t, store.Done, record(id))
	}
	cpu = server.CPU()
	read, err := s.Read(within(t), ids)
	cpu = server.CPU() - cpu
	if err != nil || len(read) != len(ids) || cpu/(store.ListLimit/readCount) > hold {
		t.Errorf("%d records, %v; each pipeline takes Redis %s", len(read), err, cpu/(store.ListLimit/readCount))
	}
}

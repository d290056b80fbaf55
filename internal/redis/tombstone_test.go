package redis

import (
	"strconv"
	"testing"

	"refresher/internal/session"
	"refresher/internal/store"
)

// TestTombstones checks that a tombstone keeps the end of a session for its time to live,
// and has no entry in the schedule, however often the owner saves the end.
func TestTombstones(t *testing.T) {
	t.Parallel()
	server, s := startAt(t)
	for name, before := range map[string]func(r *store.Record){
		"never seen": func(*store.Record) {},
		"live":       func(r *store.Record) { s.saved(t, store.Done, *r) },
		"untold": func(r *store.Record) {
			s.saved(t, store.Done, *r)
			r.State, r.Reason, r.Due = session.Ended, session.EndRevoked, session.MilliOf(begin)
			r.Version++
			s.saved(t, store.Done, *r)
		},
	} {
		r := record(name)
		before(&r)
		r.State, r.Reason, r.Due = session.Ended, session.EndRevoked, session.MilliOf(begin)
		r.Delivered |= store.DeliveredEnd
		for range 3 {
			r.Version++
			s.saved(t, store.Done, r)
			if fields := server.Do("HKEYS", s.hash(name)); fields != "f\ns\ne" {
				t.Errorf("%s, version %d: it has the fields %q", name, r.Version, fields)
			}
			if score := server.Do("ZSCORE", s.due(name), name); score != "(nil)" {
				t.Errorf("%s, version %d: it is due at %s", name, r.Version, score)
			}
			ttl, err := strconv.ParseInt(server.Do("TTL", s.hash(name)), 10, 64)
			if want := int64(r.Terms.Until - session.SecOf(begin)); err != nil || ttl < want-60 || ttl > want {
				t.Errorf("%s, version %d: it lives for %d s, %v, want %d s", name, r.Version, ttl, err, want)
			}
		}
	}
}

package storetest

import (
	"strconv"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// idsFrom returns n ids of one shard, always the same ones for the same `from`. The
// result `next` is the value of `from` for the ids that follow.
func idsFrom(from, shard, n int) (ids []string, next int) {
	for ; len(ids) < n; from++ {
		if id := "S" + strconv.Itoa(from); store.ShardOf(id) == shard {
			ids = append(ids, id)
		}
	}
	return ids, from
}

// InShard returns the ids of n sessions in one shard, always the same ones.
func InShard(shard, n int) []string {
	ids, _ := idsFrom(0, shard, n)
	return ids
}

// spread returns the ids of n sessions, spread over all shards.
func spread(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "S" + strconv.Itoa(i)
	}
	return out
}

// record returns the record of a session that a client has just joined on a node, and whose
// first tokens the client has confirmed. The session is due in half an hour.
func (w *world) record(id, node string) store.Record {
	r := Joined(id, node, session.Identity{RTM: &session.RTM{UserID: "user of " + id}}, w.clock.now())
	r.Due = session.MilliOf(w.after(30 * time.Minute))
	return r
}

// overdue returns the record of a detached session of node A that is overdue.
func (w *world) overdue(id string) store.Record {
	r := w.record(id, nodeA)
	w.become(&r, detached)
	r.Due = session.MilliOf(w.after(-store.Slack))
	return r
}

// at returns the record of a new session in the given stage.
func (w *world) at(s stage) store.Record {
	r := w.record(w.id(), nodeA)
	w.become(&r, s)
	return r
}

func (w *world) next(r *store.Record) {
	w.Helper()
	r.Version++
	w.saved(*r)
}

// turns moves the session to a stage, and saves the record's next version.
func (w *world) turns(r *store.Record, s stage) {
	w.Helper()
	w.become(r, s)
	w.next(r)
}

// stage is the state of a record's session, as far as stores distinguish it.
type stage string

const (
	proven    stage = "connected, and the client has the key"
	attached  stage = "connected"
	detached  stage = "not connected"
	expired   stage = "expired"
	ended     stage = "ended on purpose"
	removed   stage = "expired, and told"
	tombstone stage = "ended on purpose, and told"
)

// become sets the fields of a record that make up a stage. Their values depend on the
// record's epoch.
func (w *world) become(r *store.Record, s stage) {
	r.State, r.Proven = session.Attached, r.Epoch
	switch s {
	case proven:
	case attached:
		r.Proven--
	case detached:
		r.State, r.DetachedAt = session.Detached, session.MilliOf(w.clock.now())
	case expired:
		r.State, r.Reason = session.Ended, session.EndExpired
	case ended:
		r.State, r.Reason = session.Ended, session.EndRevoked
	case removed:
		w.become(r, expired)
		r.Delivered |= store.DeliveredEnd
	case tombstone:
		w.become(r, ended)
		r.Delivered |= store.DeliveredEnd
	}
	if r.HasEnded() {
		r.Due = session.MilliOf(w.clock.now())
	}
}

package store

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"refresher/internal/session"
)

// ErrUnreadable says that a session's record has another format than this release reads, or
// is corrupt.
var ErrUnreadable = errors.New("the session's record cannot be read")

// maxTombstones limits the tombstones of a shard in Memory: all shards together have at most
// a million, about 100 MB. A client that joins and leaves in a loop can reach the limit. Then
// the tombstone that would expire first is removed early, and its resume keys open the
// session again.
const maxTombstones = 1_000_000 / Shards

// Memory is the embedded store, for nodes without Redis and for tests. Several nodes in one
// process can share it. It is safe for concurrent use.
type Memory struct {
	now         func() time.Time
	mu          sync.Mutex
	shards      [Shards]memoryShard                   // guarded by mu
	nodes       map[string]memoryNode                 // guarded by mu
	watch       map[string]map[*func(string)]struct{} // by node; guarded by mu
	revocations memoryRevocations
}

type memoryShard struct {
	generation string
	open       map[string]Record // including ended sessions whose end your back end has not acknowledged
	ended      map[string]Record // the tombstones
	earliest   session.UnixMilli // no session in the map `open` is due before this time
	tombstones []tombstone       // ordered by the time at which they expire
}

type tombstone struct {
	id    string
	until session.UnixSec
}

// NewMemory makes an empty store, which uses the clock `now`.
func NewMemory(now func() time.Time) *Memory {
	m := &Memory{now: now, nodes: make(map[string]memoryNode), watch: make(map[string]map[*func(string)]struct{})}
	for i := range m.shards {
		m.shards[i].reset("1")
	}
	m.revocations.reset()
	return m
}

func (s *memoryShard) reset(generation string) {
	*s = memoryShard{generation: generation, open: make(map[string]Record), ended: make(map[string]Record), earliest: math.MaxInt64}
}

func (s *memoryShard) put(r Record) {
	s.open[r.Session] = r
	s.earliest = min(s.earliest, r.Due)
}

// find returns a session's record or its tombstone.
func (s *memoryShard) find(id string) (r Record, ok bool) {
	if r, ok = s.open[id]; !ok {
		r, ok = s.ended[id]
	}
	return r, ok
}

// Lose empties the store, as if a Redis had restarted without its data.
func (m *Memory) Lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revocations.reset()
	clear(m.nodes)
	for i := range m.shards {
		m.shards[i].reset(m.shards[i].generation + "1")
	}
}

// Len returns how many sessions the store holds, and how many tombstones it holds.
func (m *Memory) Len() (open, tombstones int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.shards {
		s := &m.shards[i]
		open += len(s.open)
		tombstones += len(s.ended)
	}
	return open, tombstones
}

// Acquire makes g.Node the owner of a session. The error is a *session.EndedError if the
// session was ended, or if a newer resume key of the session has already been presented.
func (m *Memory) Acquire(_ context.Context, g AcquireRequest) (Acquired, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.shards[ShardOf(g.Session)]
	s.expireTombstones(m.now())
	old, ok := s.find(g.Session)
	if !ok {
		return Acquired{Epoch: g.Epoch + 1}, nil
	}
	if err := Refusal(&old, g.Epoch); err != nil {
		return Acquired{}, err
	}
	r := old
	r.Epoch = max(old.Epoch, g.Epoch) + 1
	r.Proven = max(old.Proven, g.Epoch)
	r.Node, r.Version, r.State, r.Reason = g.Node, 0, session.Detached, ""
	if g.Attach {
		r.State = session.Attached
	}
	r.Due = session.MilliOf(m.now().Add(Lease))
	s.put(r)
	m.notifyLoser(old.Node, g.Node, g.Session)
	return Acquired{Epoch: r.Epoch, Record: old.clone(), Known: true}, nil
}

// Save writes each record independently, and returns what the writer of each must do.
func (m *Memory) Save(_ context.Context, records []Record) ([]Outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	outcomes := make([]Outcome, len(records))
	for i := range records {
		outcomes[i] = m.save(&records[i])
	}
	return outcomes, nil
}

func (m *Memory) save(r *Record) Outcome {
	s := &m.shards[ShardOf(r.Session)]
	s.expireTombstones(m.now())
	old, ok := s.find(r.Session)
	o, next := Outcome{Action: Done}, Record{}
	if ok {
		var replace bool
		if o, replace = Resolve(&old, r); !replace {
			if w, ok := r.unstoredWish(&old); ok {
				m.write(&w, old)
			}
			return o
		}
		m.notifyLoser(old.Node, r.Node, r.Session)
		next = r.KeepWish(&old)
	} else {
		next = r.KeepWish(&Record{})
	}
	switch {
	case next.Removable():
		delete(s.open, r.Session)
		delete(s.ended, r.Session)
	case next.IsTombstone():
		s.addTombstone(next)
	default:
		s.put(next)
		delete(s.ended, r.Session) // the record replaces a tombstone
	}
	return o
}

// Wish writes an operator's change (a wish) into the record of an open session, notifies the
// session's owner and returns the changed record. A session whose end your back end has not
// acknowledged can be ended again. The error is ErrNoSession if there is no such record.
func (m *Memory) Wish(_ context.Context, w Wish) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &m.shards[ShardOf(w.Session)]
	r, ok := s.open[w.Session]
	again := w.Kind == WishEnd && r.endedOnPurpose()
	if !ok || r.HasEnded() && !again {
		return Record{}, ErrNoSession
	}
	return m.write(&w, r), nil
}

// write stores the record r with the wish, notifies the session's owner and returns the changed
// record.
func (m *Memory) write(w *Wish, r Record) Record {
	w.Write(&r)
	m.shards[ShardOf(r.Session)].put(r)
	m.notify(r.Node, r.Session)
	return r.clone()
}

// addTombstone stores r as a tombstone, without the session's identity.
func (s *memoryShard) addTombstone(r Record) {
	r.Identity = session.Identity{}
	s.ended[r.Session] = r
	delete(s.open, r.Session)
	g := tombstone{r.Session, r.TombstoneUntil()}
	at, _ := slices.BinarySearchFunc(s.tombstones, g, func(a, b tombstone) int { return cmp.Compare(a.until, b.until) })
	s.tombstones = slices.Insert(s.tombstones, at, g)
	if len(s.tombstones) > maxTombstones {
		s.removeTombstone(s.tombstones[0])
		s.tombstones = s.tombstones[1:]
	}
}

// removeTombstone removes the record of a tombstone, unless another record has replaced it.
func (s *memoryShard) removeTombstone(g tombstone) {
	if r, ok := s.ended[g.id]; ok && r.TombstoneUntil() == g.until {
		delete(s.ended, g.id)
	}
}

// notifyLoser notifies the session's previous owner, the node `before`, if another node owns
// the session now.
func (m *Memory) notifyLoser(before, node, id string) {
	if before != node {
		m.notify(before, id)
	}
}

func (m *Memory) notify(node, id string) {
	for tell := range m.watch[node] {
		(*tell)(id)
	}
}

func (s *memoryShard) expireTombstones(now time.Time) {
	for len(s.tombstones) > 0 && s.tombstones[0].until <= session.SecOf(now) {
		s.removeTombstone(s.tombstones[0])
		s.tombstones = s.tombstones[1:]
	}
}

// Watch calls the function `notice` for each session that another node acquires from this
// one, until ctx is done. It calls the function `connected` as soon as notices can arrive;
// earlier notices are lost. Neither function may block or call the store.
func (m *Memory) Watch(ctx context.Context, node string, connected func(), notice func(id string)) error {
	m.mu.Lock()
	if m.watch[node] == nil {
		m.watch[node] = make(map[*func(string)]struct{})
	}
	m.watch[node][&notice] = struct{}{}
	m.mu.Unlock()
	connected()
	<-ctx.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watch[node], &notice)
	return nil
}

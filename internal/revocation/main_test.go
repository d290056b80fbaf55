package revocation

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/store"
)

var errAway = errors.New("no answer")

// shared is a store that can be made to lose its data. Its mutex guards all its fields, and
// those of its links.
type shared struct {
	mu       sync.Mutex
	data     data
	versions int
	statuses map[string]string // statuses of the live nodes, by node
	watchers map[*func(store.RevocationsChange)]*link
	deaf     bool // if true, notices do not arrive
	leaky    bool // if true, the store keeps nothing of what it is given
	room     int  // maximum number of revocations; 0 is unlimited
	readings int
	full     int // number of readings that returned all revocations
}

type data struct {
	version store.RevocationsVersion
	all     map[string]store.Revocation
	seqs    map[string]int64
	ended   map[string]map[string]store.Ended
}

func newData() data {
	return data{
		version: store.RevocationsVersion{Name: "-"},
		all:     make(map[string]store.Revocation), seqs: make(map[string]int64), ended: make(map[string]map[string]store.Ended),
	}
}

func (d *data) clone() data {
	c := data{d.version, maps.Clone(d.all), maps.Clone(d.seqs), make(map[string]map[string]store.Ended)}
	for id, ended := range d.ended {
		c.ended[id] = maps.Clone(ended)
	}
	return c
}

func newShared() *shared {
	return &shared{data: newData(), statuses: make(map[string]string), watchers: make(map[*func(store.RevocationsChange)]*link)}
}

func inPair(t *testing.T, test func(t *testing.T, s *shared, a, other *node)) {
	t.Helper()
	withStore(t, func(t *testing.T, s *shared) { test(t, s, start(t, s, "a"), start(t, s, "b")) })
}

func withStore(t *testing.T, test func(t *testing.T, s *shared)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newShared()) })
}

func (s *shared) set(change func(s *shared)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *shared) lose() { s.set(func(s *shared) { s.data = newData() }) }

// snapshot returns a copy of the store's data: what a replica has that receives no more changes.
// restore replaces the data by such a copy, and sends no notice.
func (s *shared) snapshot() (copied data) {
	s.set(func(s *shared) { copied = s.data.clone() })
	return copied
}

func (s *shared) restore(d data) { s.set(func(s *shared) { s.data = d.clone() }) }

func (s *shared) counts() (readings, full int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readings, s.full
}

// wantReads expects all revocations to be read at most `most` times while f runs.
func (s *shared) wantReads(t *testing.T, most int, f func()) {
	t.Helper()
	_, before := s.counts()
	f()
	if _, after := s.counts(); after-before > most {
		t.Errorf("everything was read %d times, want at most %d", after-before, most)
	}
}

func (s *shared) get(id string) store.Revocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.all[id]
}

func (s *shared) notify(change store.RevocationsChange) {
	for f, l := range s.watchers {
		if !s.deaf && !l.away {
			(*f)(change)
		}
	}
}

type link struct {
	*shared
	away     bool // all requests fail
	hang     bool // requests get no answer until the caller's context ends or the store client's timeout is over
	readOnly bool
	lag      time.Duration // delay of reading the revocations, but not of reading the version
	putLag   time.Duration
	puts     int
	said     int
}

func (l *link) set(change func(l *link)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *link) putCount() (puts int) {
	l.set(func(l *link) { puts = l.puts })
	return puts
}

func cutOff(l *link)   { l.away = true }
func hangUp(l *link)   { l.away, l.hang = true, true }
func readOnly(l *link) { l.readOnly = true }
func connect(l *link)  { l.away, l.hang, l.readOnly = false, false, false }

// reach locks the store after the delay `lag`. If reach returns no error, the caller must unlock
// the store.
func (l *link) reach(ctx context.Context, write bool, lag time.Duration) error {
	l.mu.Lock()
	refused, hang := l.away || write && l.readOnly, l.hang
	l.mu.Unlock()
	if hang {
		pause(ctx, storeTimeout)
	}
	if refused || ctx.Err() != nil || lag > 0 && !pause(ctx, lag) {
		return errAway
	}
	l.mu.Lock()
	return nil
}

func (l *link) PutRevocations(ctx context.Context, revocations ...store.Revocation) (err error) {
	var lag time.Duration
	l.set(func(l *link) { l.puts, lag = l.puts+len(revocations), l.putLag })
	if err := l.reach(ctx, true, lag); err != nil {
		return err
	}
	s := l.shared
	defer s.mu.Unlock()
	s.versions++
	change := store.RevocationsChange{From: s.data.version}
	change.To = store.RevocationsVersion{Name: strconv.Itoa(s.versions), Seq: max(s.data.version.Seq+1, time.Now().UnixMilli())}
	for _, r := range revocations {
		old, ok := s.data.all[r.ID]
		switch {
		case ok && old.Version >= r.Version || s.leaky:
		case !ok && s.room > 0 && len(s.data.all) >= s.room:
			err = store.ErrRevocationsFull
		default:
			s.data.all[r.ID], s.data.seqs[r.ID] = r, change.To.Seq
			change.Changed = append(change.Changed, r)
		}
	}
	if len(change.Changed) > 0 {
		s.data.version = change.To
		s.notify(change)
	}
	return err
}

func (l *link) Revocations(ctx context.Context, known store.RevocationsVersion) (all, later []store.Revocation, version store.RevocationsVersion, err error) {
	if err := l.reach(ctx, false, 0); err != nil {
		return nil, nil, store.RevocationsVersion{}, err
	}
	s := l.shared
	s.readings++
	version, lag := s.data.version, l.lag
	s.mu.Unlock()
	if version == known {
		return nil, nil, known, nil
	}
	if err := l.reach(ctx, false, lag); err != nil {
		return nil, nil, store.RevocationsVersion{}, err
	}
	defer s.mu.Unlock()
	s.full++
	for id, r := range s.data.all {
		if s.data.seqs[id] > version.Seq {
			later = append(later, r)
		} else {
			all = append(all, r)
		}
	}
	return all, later, version, nil
}

func (l *link) WatchRevocations(ctx context.Context, changed func(store.RevocationsChange)) error {
	if err := l.reach(ctx, false, 0); err != nil {
		return err
	}
	l.watchers[&changed] = l
	l.mu.Unlock()
	changed(store.RevocationsChange{})
	<-ctx.Done()
	l.shared.set(func(s *shared) { delete(s.watchers, &changed) })
	return nil
}

func (l *link) PutEnded(ctx context.Context, r store.Revocation, node string, e store.Ended) error {
	if err := l.reach(ctx, true, 0); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if l.data.ended[r.ID] == nil {
		l.data.ended[r.ID] = make(map[string]store.Ended)
	}
	l.data.ended[r.ID][node] = e
	return nil
}

func (l *link) RevocationProgress(ctx context.Context, id string) (store.RevocationProgress, error) {
	if err := l.reach(ctx, false, l.lag); err != nil {
		return store.RevocationProgress{}, err
	}
	defer l.mu.Unlock()
	return store.RevocationProgress{Seq: l.data.seqs[id], Ended: maps.Clone(l.data.ended[id])}, nil
}

func (l *link) SetStatus(ctx context.Context, node, _, status string) error {
	l.set(func(l *link) { l.said++ })
	if err := l.reach(ctx, true, 0); err != nil {
		return err
	}
	defer l.mu.Unlock()
	if _, live := l.statuses[node]; live {
		l.statuses[node] = status
	}
	return nil
}

func (l *link) Statuses(ctx context.Context, _ string) (map[string]string, error) {
	if err := l.reach(ctx, false, l.lag); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	return maps.Clone(l.statuses), nil
}

type node struct {
	*Set
	t        *testing.T
	name     string
	link     *link
	registry *prometheus.Registry
	log      *logBuffer
	stop     func()

	mu       sync.Mutex
	sessions map[string]session.ResumeClaims
	ended    []string      // for each ended session, the id of the revocation
	slow     time.Duration // how long it takes to end sessions
}

// newNode makes a node that does not run yet. Its wall clock is the fake clock.
func newNode(t *testing.T, s *shared, name string) *node {
	t.Helper()
	n := &node{
		t: t, name: name, link: &link{shared: s}, registry: prometheus.NewRegistry(), log: &logBuffer{},
		sessions: make(map[string]session.ResumeClaims),
	}
	n.Set = New(Config{
		Store: n.link, Nodes: n.link, Node: name,
		Logger: slog.New(slog.NewTextHandler(n.log, nil)), Registerer: n.registry,
	})
	return n
}

func (n *node) run() *node {
	n.link.shared.set(func(s *shared) { s.statuses[n.name] = "" })
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(ctx, n.end)
	}()
	n.stop = func() {
		cancel()
		<-done
		n.link.shared.set(func(s *shared) { delete(s.statuses, n.name) })
	}
	n.t.Cleanup(n.stop)
	return n
}

func start(t *testing.T, s *shared, name string) *node {
	t.Helper()
	n := newNode(t, s, name).run()
	synctest.Wait()
	return n
}

func (n *node) join(id string, uid uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions[id] = session.ResumeClaims{App: "app", Session: id, Identity: rtc("daily", uid)}
}

// tokensEnd is when the tokens of all sessions expire.
const tokensEnd = 4_000_000_000

func (n *node) open() map[string]session.ResumeClaims {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.sessions)
}

func (n *node) holds() int {
	n.Set.mu.RLock()
	defer n.Set.mu.RUnlock()
	return len(n.entries)
}

func (n *node) setSlow(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow = d
}

func (n *node) end(match func(*session.ResumeClaims) string, ended func(string, session.UnixSec)) {
	n.mu.Lock()
	slow := n.slow
	n.mu.Unlock()
	time.Sleep(slow) // bubble
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, k := range n.sessions {
		if id := match(&k); id != "" {
			delete(n.sessions, name)
			n.ended = append(n.ended, id)
			ended(id, tokensEnd)
		}
	}
}

func (n *node) add(r store.Revocation) (store.Revocation, store.Progress) {
	n.t.Helper()
	r, p, err := n.Add(n.t.Context(), r)
	if err != nil {
		n.t.Fatal(err)
	}
	return r, p
}

// addUnsaved adds a revocation while the store is down.
func (n *node) addUnsaved(r store.Revocation) (store.Revocation, store.Progress) {
	n.t.Helper()
	r, p, err := n.Add(n.t.Context(), r)
	if !errors.Is(err, store.ErrUnsaved) {
		n.t.Fatalf("Add while the store is away: %v", err)
	}
	return r, p
}

func (n *node) lift(id string) {
	n.t.Helper()
	if r, err := n.Lift(n.t.Context(), "app", id); err != nil || !r.Lifted || r.Version != 2 {
		n.t.Fatal(r, err)
	}
}

func (n *node) wantRevoked(uid uint32, want bool) {
	n.t.Helper()
	if got := n.Revoked(&session.ResumeClaims{App: "app", Identity: rtc("daily", uid)}); got != want {
		n.t.Errorf("%s: user %d is revoked: %v, want %v", n.name, uid, got, want)
	}
}

func rtc(channel string, uid uint32) session.Identity {
	return session.Identity{RTC: &session.RTC{Channel: channel, UID: uid}}
}

func revocation(uid int) store.Revocation {
	return store.Revocation{Selector: store.Selector{App: "app", User: strconv.Itoa(uid)}, Until: session.SecOf(time.Now().Add(time.Hour))}
}

// lacks returns how many of the node's revocations the store does not have, as far as the node
// knows.
func (n *node) lacks() int {
	n.Set.mu.RLock()
	defer n.Set.mu.RUnlock()
	return len(n.unsaved)
}

func (n *node) wantLacks(want int) {
	n.t.Helper()
	if got := n.lacks(); got != want {
		n.t.Errorf("%s: the store lacks %d, want %d", n.name, got, want)
	}
}

func (n *node) wantEnded(id string, sessions int) {
	n.t.Helper()
	if _, p, err := n.Get(n.t.Context(), "app", id); err != nil || !p.Complete || p.Ended != sessions {
		n.t.Errorf("%s: progress %+v, %v, want complete with %d sessions", n.name, p, err, sessions)
	}
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

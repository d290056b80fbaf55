package revocation

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestStoreAway(t *testing.T) {
	for name, fails := range map[string]func(*link){
		"refuses": cutOff, "no answer": hangUp, "refuses writes": readOnly,
	} {
		t.Run(name, func(t *testing.T) {
			inPair(t, func(t *testing.T, s *shared, a, other *node) {
				lifted, _ := a.add(revocation(8))
				a.link.set(fails)
				a.join("S", 7)
				began := time.Now()
				r, p := a.addUnsaved(revocation(7))
				if took := time.Since(began); took > patience || !cmp.Equal(p, store.Progress{Ended: 1, AccessEndsAt: tokensEnd}) {
					t.Errorf("%+v after %s, want this node's progress within %s", p, took, patience)
				}
				for range 2 { // the revocation may be lifted a second time, even though the first call of Lift is not saved yet
					if _, err := a.Lift(t.Context(), "app", lifted.ID); !errors.Is(err, store.ErrUnsaved) {
						t.Fatalf("Lift: %v", err)
					}
				}
				time.Sleep(time.Minute) // bubble
				a.wantRevoked(7, true)
				a.wantRevoked(8, false)
				other.wantRevoked(7, false)
				other.wantRevoked(8, true)
				a.wantLacks(2)
				a.link.set(connect)
				time.Sleep(maxRetry + storeTimeout) // bubble
				other.wantRevoked(7, true)
				other.wantRevoked(8, false)
				a.wantLacks(0)
				other.wantEnded(r.ID, 1)
				if log := a.log.String(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, "exchanged with Redis again") != 1 {
					t.Errorf("want one warning and one line when the store is back:\n%s", log)
				}
			})
		})
	}
}

func TestShortOutage(t *testing.T) {
	for _, stops := range []bool{false, true} {
		inPair(t, func(t *testing.T, s *shared, a, other *node) {
			a.link.set(cutOff)
			a.addUnsaved(revocation(7))
			time.Sleep(minRetry / 2) // bubble
			a.link.set(connect)
			if stops {
				a.stop()
			}
			time.Sleep(2 * minRetry) // bubble
			other.wantRevoked(7, true)
		})
	}
}

// TestStartFromABadStore: a starting node reads all revocations even if the store refuses writes,
// or takes longer to return all revocations than the timeout of a single request.
func TestStartFromABadStore(t *testing.T) {
	for name, bad := range map[string]func(*link){
		"refuses writes": readOnly, "slow": func(l *link) { l.lag = 5 * storeTimeout },
	} {
		t.Run(name, func(t *testing.T) {
			withStore(t, func(t *testing.T, s *shared) {
				start(t, s, "a").add(revocation(7))
				next := newNode(t, s, "b")
				next.link.set(bad)
				next.run()
				time.Sleep(time.Minute) // bubble
				next.wantRevoked(7, true)
				if log := next.log.String(); !next.Loaded() || strings.Contains(log, "level=WARN") {
					t.Errorf("loaded: %v; a node that has nothing to write logged\n%s", next.Loaded(), log)
				}
			})
		})
	}
}

func TestStart(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a := start(t, s, "a")
		if !a.Loaded() {
			t.Fatal("the store is there, and was not read")
		}
		r, _ := a.add(revocation(7))
		a.stop()
		next := newNode(t, s, "b")
		next.link.set(cutOff)
		next.run()
		time.Sleep(time.Minute) // bubble
		if next.Loaded() {
			t.Fatal("loaded before the store was read")
		}
		if _, _, err := next.List("app", ""); !errors.Is(err, session.ErrRevocationsUnknown) {
			t.Errorf("List before the store was read: %v", err)
		}
		next.join("S", 7)
		next.link.set(connect)
		time.Sleep(maxRetry) // bubble
		if !next.Loaded() {
			t.Fatal("not loaded")
		}
		next.wantRevoked(7, true)
		if _, p, err := next.Get(t.Context(), "app", r.ID); err != nil || p.Ended != 1 {
			t.Errorf("progress %+v, %v", p, err)
		}
	})
}

func TestWithinASecond(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		s.set(func(s *shared) { s.deaf = true })
		a, other := start(t, s, "a"), start(t, s, "b")
		time.Sleep(pollEvery / 2) // bubble
		other.join("S", 7)
		if _, p := a.add(revocation(7)); p.Ended != 1 || !p.Complete {
			t.Errorf("within the time that Add waits: %+v", p)
		}
		time.Sleep(time.Second) // bubble
		before, _ := s.counts()
		time.Sleep(time.Minute) // bubble
		after, _ := s.counts()
		if got, most := after-before, 2*int(time.Minute/pollEvery)+2; got > most {
			t.Errorf("two nodes read %d times in a minute, want %d", got, most)
		}
	})
}

func TestNoticeSavesReading(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		time.Sleep(time.Second + time.Millisecond) // bubble; the extra millisecond keeps the test away from the moments at which nodes poll the store
		s.wantReads(t, 0, func() {
			for i := range 100 {
				r, _ := a.add(revocation(i))
				if i%3 == 0 {
					a.lift(r.ID)
				}
				synctest.Wait()
				other.wantRevoked(uint32(i), i%3 != 0)
			}
			time.Sleep(time.Minute) // bubble
		})
	})
}

func TestMissedNotices(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		if err := other.lockSync(t.Context()); err != nil { // keeps the other node from merging changes
			t.Fatal(err)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if other.lockSync(stopped) == nil {
			t.Error("locked twice")
		}
		for i := range 2 * backlog {
			a.add(revocation(i))
		}
		s.wantReads(t, 2, func() {
			other.unlockSync()
			time.Sleep(time.Second) // bubble
		})
		for i := range 2 * backlog {
			other.wantRevoked(uint32(i), true)
		}
	})
}

func TestEmptied(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		a.join("S", 7)
		other.join("T", 7)
		r, _ := a.add(revocation(7))
		for _, after := range []time.Duration{0, time.Minute} {
			time.Sleep(after) // bubble
			s.lose()
			time.Sleep(time.Second) // bubble
			if got := s.get(r.ID); got != r {
				t.Errorf("%s later the store has %+v", after, got)
			}
			a.wantEnded(r.ID, 2)
			other.wantEnded(r.ID, 2)
		}
	})
}

// liftUnnoticed adds a revocation of user 6 and lifts it. From the lifting on, nodes get no notices. It
// returns the revocation's id, and the store's data from before the lifting.
func (n *node) liftUnnoticed(s *shared) (id string, before data) {
	n.t.Helper()
	r, _ := n.add(revocation(6))
	time.Sleep(time.Second) // bubble
	before = s.snapshot()
	s.set(func(s *shared) { s.deaf = true })
	n.lift(r.ID)
	return r.ID, before
}

// TestFailoverToTheKnownVersion: the store accepts a change and loses it in a failover, before any
// node has seen it there. The store's version is then the one that all nodes know, but the node that
// made the change puts it into the store again.
func TestFailoverToTheKnownVersion(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		_, replica := a.liftUnnoticed(s)
		a.join("S", 7)
		added := make(chan store.Revocation)
		go func() {
			r, _ := a.add(revocation(7)) // waits for the other node
			added <- r
		}()
		synctest.Wait()
		s.restore(replica)
		s.set(func(s *shared) { s.deaf = false })
		r := <-added
		time.Sleep(2 * time.Second) // bubble
		other.wantRevoked(6, false)
		other.wantRevoked(7, true)
		other.wantEnded(r.ID, 1)
		if got := s.get(r.ID); got != r {
			t.Errorf("the store has %+v, want %+v", got, r)
		}
	})
}

// TestFailoverAfterFailover: a change that the store has lost twice is put there a third time.
func TestFailoverAfterFailover(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		lifted, replica := a.liftUnnoticed(s)
		s.restore(replica)
		a.link.set(readOnly)
		time.Sleep(time.Minute) // bubble
		a.wantLacks(1)
		a.link.set(connect)
		for a.lacks() > 0 {
			time.Sleep(time.Millisecond) // bubble
		}
		s.restore(replica)
		time.Sleep(time.Minute) // bubble
		if !s.get(lifted).Lifted {
			t.Error("the lifted revocation is in force again")
		}
		other.wantRevoked(6, false)
		a.wantLacks(0)
	})
}

// putElsewhere puts a revocation into the store, as another node does.
func (s *shared) putElsewhere(t *testing.T, id string, uid int) {
	t.Helper()
	r := revocation(uid)
	r.ID, r.Version = id, 1
	if err := (&link{shared: s}).PutRevocations(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// awaitRead waits until a node has read the store's version.
func (s *shared) awaitRead() {
	before, _ := s.counts()
	for now := before; now == before; now, _ = s.counts() {
		time.Sleep(time.Millisecond) // bubble
	}
}

// TestAddDuringARead: a revocation that was added elsewhere while a node read the store is merged, and the
// node does not put it there again.
func TestAddDuringARead(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a := start(t, s, "a")
		s.set(func(s *shared) { s.deaf = true })
		a.link.set(func(l *link) { l.lag = 200 * time.Millisecond })
		s.putElsewhere(t, "X", 6)
		s.awaitRead()
		time.Sleep(100 * time.Millisecond) // bubble
		s.putElsewhere(t, "Y", 7)
		time.Sleep(2 * time.Second) // bubble
		a.wantRevoked(6, true)
		a.wantRevoked(7, true)
		if puts := a.link.putCount(); puts != 0 {
			t.Errorf("the node put %d revocations", puts)
		}
	})
}

// TestFailoverDuringARead: a node reads the store's version and then the revocations. One that was added
// between the two is not part of that version, and a failover to that version loses it.
func TestFailoverDuringARead(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		s.set(func(s *shared) { s.deaf = true })
		time.Sleep(time.Second) // bubble
		other.link.set(cutOff)
		const lag = 600 * time.Millisecond
		a.link.set(func(l *link) { l.lag = lag })
		s.putElsewhere(t, "X", 6)
		replica := s.snapshot()
		s.awaitRead()
		time.Sleep(lag / 2) // bubble
		added := make(chan store.Revocation)
		go func() {
			r, _ := a.add(revocation(7))
			added <- r
		}()
		time.Sleep(lag/2 + time.Millisecond) // bubble
		s.restore(replica)
		other.link.set(connect)
		r := <-added
		time.Sleep(time.Minute) // bubble
		if s.get(r.ID) != r {
			t.Errorf("the store has %+v, want %+v", s.get(r.ID), r)
		}
		other.wantRevoked(7, true)
	})
}

// TestManyRevocationsAfterALoss: while a node restores many revocations into a slow store, it
// still receives new ones, and logs no failure.
func TestManyRevocationsAfterALoss(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		a.fill("app", 100, 20*mergeBatch)
		a.link.set(func(l *link) { l.putLag = storeTimeout / 10 })
		other.add(revocation(6))
		s.lose()
		time.Sleep(storeTimeout) // bubble
		other.add(revocation(7))
		time.Sleep(2 * flushTime) // bubble
		a.wantRevoked(7, true)
		time.Sleep(4 * storeTimeout) // bubble
		if log := a.log.String(); a.lacks() != 0 || strings.Contains(log, "level=WARN") {
			t.Errorf("the store lacks %d:\n%s", a.lacks(), log)
		}
	})
}

// TestLiftElsewhere: a node that does not know a revocation reads the store before it lifts
// the revocation.
func TestLiftElsewhere(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		s.set(func(s *shared) { s.deaf = true })
		r := revocation(7)
		if _, err := a.accept(&r); err != nil {
			t.Fatal(err)
		}
		if err := a.putAll(t.Context(), []store.Revocation{r}); err != nil {
			t.Fatal(err)
		}
		other.link.set(cutOff)
		_, err := other.Lift(t.Context(), "app", r.ID)
		if refusal, ok := errors.AsType[*session.Error](err); !ok || refusal.Code != session.CodeUnavailable {
			t.Errorf("Lift of what cannot be known: %v", err)
		}
		other.link.set(connect)
		other.lift(r.ID)
		time.Sleep(time.Second) // bubble
		a.wantRevoked(7, false)
	})
}

func TestRevocationsAreRemovedWhenTheyEnd(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		r := revocation(7)
		r.Until = session.SecOf(time.Now().Add(10 * time.Second))
		r, _ = a.add(r)
		time.Sleep(time.Until(r.Until.Time()) - time.Nanosecond) // bubble
		other.wantRevoked(7, true)
		time.Sleep(time.Nanosecond) // bubble
		other.wantRevoked(7, false)
		if _, _, err := a.Get(t.Context(), "app", r.ID); !errors.Is(err, store.ErrNoRevocation) {
			t.Errorf("Get: %v", err)
		}
		time.Sleep(expireEvery + time.Second) // bubble
		synctest.Wait()
		for _, n := range []*node{a, other} {
			if len(n.entries)+len(n.projects)+len(n.unsaved)+len(n.unreported) != 0 {
				t.Errorf("%s still has %+v", n.name, n.Set)
			}
		}
	})
}

// TestLeaky: if a revocation has ended by the clock of the store, the store does not keep
// it, and the node sends it again less and less often.
func TestLeaky(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		s.leaky = true
		a := start(t, s, "a")
		a.add(revocation(7))
		time.Sleep(time.Minute) // bubble
		if got := a.link.putCount(); got > 8 {
			t.Errorf("put %d times in a minute", got)
		}
	})
}

func TestStatusRefused(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		other.join("S", 7)
		other.link.set(func(l *link) { l.readOnly, l.said = true, 0 })
		r, _ := a.add(revocation(7))
		time.Sleep(time.Minute) // bubble
		other.link.set(func(l *link) {
			if l.said > 40 {
				t.Errorf("tried %d times in a minute", l.said)
			}
			l.readOnly = false
		})
		time.Sleep(maxRetry) // bubble
		a.wantEnded(r.ID, 1)
	})
}

// TestSlowStore: between two reads of a slow store the node pauses, however often the store's
// revocations change.
func TestSlowStore(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a := start(t, s, "a")
		a.link.set(func(l *link) { l.lag = 50 * time.Millisecond })
		before, _ := s.counts()
		for range 1000 {
			time.Sleep(10 * time.Millisecond) // bubble
			s.set(func(s *shared) {
				s.data.version.Seq++
				s.notify(store.RevocationsChange{})
			})
		}
		after, _ := s.counts()
		if got := after - before; got < 10 || got > 10_000/150+1 {
			t.Errorf("read %d times in 10 s", got)
		}
	})
}

// TestAtOnce calls the methods concurrently, for the race detector.
func TestAtOnce(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, b *node) {
		nodes := []*node{a, b}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				n := nodes[i%2]
				n.join(strconv.Itoa(i), uint32(i))
				r, _ := n.add(revocation(i))
				if i%4 == 0 {
					nodes[(i+1)%2].lift(r.ID)
				}
				_, _, _ = n.List("app", "")
				_, _ = n.registry.Gather()
			})
		}
		all.Wait()
		synctest.Wait()
		for i := range 40 {
			a.wantRevoked(uint32(i), i%4 != 0)
			b.wantRevoked(uint32(i), i%4 != 0)
		}
	})
}

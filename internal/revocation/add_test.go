package revocation

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
	"refresher/internal/store"
)

func TestAdd(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		nodes := []*node{start(t, s, "a"), start(t, s, "b"), start(t, s, "c")}
		nodes[0].join("here", 7)
		nodes[1].join("there", 7)
		nodes[1].join("there, too", 7)
		nodes[2].join("another user's", 8)
		began := time.Now()
		r, p := nodes[0].add(revocation(7))
		if took := time.Since(began); took > 2*lookEvery {
			t.Errorf("Add took %s", took)
		}
		want := store.Progress{Ended: 3, AccessEndsAt: tokensEnd, Complete: true}
		if r.ID == "" || r.Since != session.MilliOf(began) || r.Version != 1 || r.Lifted || !cmp.Equal(p, want) {
			t.Errorf("added %+v, progress %+v", r, p)
		}
		for _, n := range nodes {
			n.wantRevoked(7, true)
			n.wantRevoked(8, false)
			if got, p, err := n.Get(t.Context(), "app", r.ID); err != nil || got != r || !cmp.Equal(p, want) {
				t.Errorf("Get at %s: %+v, %+v, %v", n.name, got, p, err)
			}
		}
		if got := nodes[2].open(); len(got) != 1 {
			t.Errorf("the other user's session has ended: %v", got)
		}
		nodes[2].lift(r.ID)
		nodes[2].wantRevoked(7, false)
		synctest.Wait()
		nodes[0].wantRevoked(7, false)
		for _, n := range nodes {
			if _, _, err := n.Get(t.Context(), "app", r.ID); !errors.Is(err, store.ErrNoRevocation) {
				t.Errorf("Get of a lifted one at %s: %v", n.name, err)
			}
		}
	})
}

// TestSlowNode: Add waits for another node no longer than the time `patience`. Get reports
// the revocation as complete when that node has applied it, or has stopped.
func TestSlowNode(t *testing.T) {
	withStore(t, func(t *testing.T, s *shared) {
		a, slow, c := start(t, s, "a"), start(t, s, "b"), start(t, s, "c")
		slow.join("S", 7)
		slow.setSlow(2 * time.Second)
		began := time.Now()
		r, p := a.add(revocation(7))
		if took := time.Since(began); took != patience {
			t.Errorf("Add took %s, want %s", took, patience)
		}
		if want := (store.Progress{WaitingFor: []string{"b"}}); cmp.Diff(want, p) != "" {
			t.Errorf("progress %+v, want %+v", p, want)
		}
		slow.wantRevoked(7, true)   // the revocation has effect on the slow node before that node has ended its sessions
		time.Sleep(2 * time.Second) // bubble
		c.wantEnded(r.ID, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began = time.Now()
		slow.join("T", 8)
		r, p, err := a.Add(ctx, revocation(8))
		if took := time.Since(began); err != nil || took != 100*time.Millisecond || !slices.Equal(p.WaitingFor, []string{"b"}) {
			t.Errorf("a caller that gives up gets %+v, %v after %s", p, err, took)
		}
		slow.stop() // a node whose lease has expired is not waited for
		a.wantEnded(r.ID, 0)
	})
}

// TestCompleteCountsAll: the progress of a complete revocation counts the sessions of every
// node, even if a node finished between two reads of the store, or this node took longer than
// the others.
func TestCompleteCountsAll(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, b *node) {
		a.join("S", 8)
		b.join("T", 8)
		a.setSlow(2 * patience)
		if _, p := a.add(revocation(8)); p.Ended != 2 {
			t.Errorf("progress %+v", p)
		}
		a.setSlow(0)
		b.join("S", 7)
		b.setSlow(45 * time.Millisecond)
		a.link.set(func(l *link) { l.lag = 30 * time.Millisecond })
		if _, p := a.add(revocation(7)); !p.Complete || p.Ended != 1 || p.AccessEndsAt != tokensEnd {
			t.Errorf("progress %+v", p)
		}
	})
}

// TestNotCompleteWhileAddEnds: a stored revocation is not complete while Add is still
// ending sessions on its node.
func TestNotCompleteWhileAddEnds(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, b *node) {
		a.join("S", 7)
		a.setSlow(time.Second)
		go func() {
			if _, _, err := a.Add(t.Context(), revocation(7)); err != nil {
				t.Error(err)
			}
		}()
		time.Sleep(time.Second / 2) // bubble
		page, _, _ := b.List("app", "")
		if len(page) != 1 {
			t.Fatalf("the other node has %d revocations", len(page))
		}
		if _, p, err := b.Get(t.Context(), "app", page[0].ID); err != nil || p.Complete || !slices.Equal(p.WaitingFor, []string{"a"}) {
			t.Errorf("meanwhile: %+v, %v", p, err)
		}
		time.Sleep(time.Second) // bubble
		b.wantEnded(page[0].ID, 1)
	})
}

func TestInvalidRevocationsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, newShared(), "a")
		for name, spoil := range map[string]func(r *store.Revocation){
			"no project":  func(r *store.Revocation) { r.App = "" },
			"over":        func(r *store.Revocation) { r.Until = session.SecOf(time.Now()) },
			"everybody":   func(r *store.Revocation) { r.User = "" },
			"a long name": func(r *store.Revocation) { r.Channel = strings.Repeat("x", store.MaxName+1) },
		} {
			r := revocation(8)
			spoil(&r)
			_, _, err := a.Add(t.Context(), r)
			if refusal, ok := errors.AsType[*session.Error](err); !ok || refusal.Code != session.CodeBadRequest || a.holds() != 0 {
				t.Errorf("%s: %v; %d are held", name, err, a.holds())
			}
		}
	})
}

func TestOnlyTheProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, newShared(), "a")
		r, _ := a.add(revocation(7))
		if _, _, err := a.Get(t.Context(), "else", r.ID); !errors.Is(err, store.ErrNoRevocation) {
			t.Errorf("Get: %v", err)
		}
		if _, err := a.Lift(t.Context(), "else", r.ID); !errors.Is(err, store.ErrNoRevocation) {
			t.Errorf("Lift: %v", err)
		}
		if page, _, _ := a.List("else", ""); len(page) != 0 {
			t.Errorf("List: %v", page)
		}
		if a.Revoked(&session.ResumeClaims{App: "else", Identity: rtc("daily", 7)}) {
			t.Error("the user is revoked in another project")
		}
	})
}

func TestLog(t *testing.T) {
	inPair(t, func(t *testing.T, s *shared, a, other *node) {
		r := revocation(7)
		r.User, r.Channel, r.Subject = "the-user", "the-channel", "the-subject"
		r, _ = a.add(r)
		a.lift(r.ID)
		synctest.Wait()
		for _, n := range []*node{a, other} {
			log := n.log.String()
			if strings.Count(log, "revocation="+r.ID) != 2 || strings.Contains(log, "the-") {
				t.Errorf("%s: want two lines about the revocation, without names:\n%s", n.name, log)
			}
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, newShared(), "a")
		r, _ := a.add(revocation(7))
		a.add(revocation(8))
		a.lift(r.ID)
		a.link.set(cutOff)
		a.addUnsaved(revocation(9))
		if err := testutil.GatherAndCompare(a.registry, strings.NewReader(`
# HELP refresher_revocations Revocations in force, in this node's copy.
# TYPE refresher_revocations gauge
refresher_revocations 2
# HELP refresher_revocations_unsaved Changes that are not in Redis yet: revocations that were added or lifted.
# TYPE refresher_revocations_unsaved gauge
refresher_revocations_unsaved 1
`)); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(a.registry); err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	})
}

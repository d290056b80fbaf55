package revocation

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/store"
)

type step struct {
	what  string
	node  int
	after time.Duration
}

// TestConverges: after any sequence of partitions, losses of data and restarts, all nodes and the
// store have the same revocations. Nothing that Add or Lift has acknowledged is lost, and no count
// of ended sessions, with one exception: if the store loses a count while the node cannot see that
// the store has changed, the node does not write the count again.
func TestConverges(t *testing.T) {
	happens := []string{
		"add", "add", "lift", "cut off", "hang", "read-only", "reach", "lose the data", "snapshot", "fail over",
		"deafen", "restart", "join",
	}
	steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		return step{
			what: rapid.SampledFrom(happens).Draw(rt, "what"), node: rapid.IntRange(0, 2).Draw(rt, "node"),
			after: time.Duration(rapid.IntRange(0, 3000).Draw(rt, "after")) * time.Millisecond,
		}
	}), 1, 40)
	rapid.Check(t, func(rt *rapid.T) {
		story := steps.Draw(rt, "steps")
		// A failing bubble would end the whole test if it were not in a subtest.
		if !t.Run("", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { converge(t, story) }) }) {
			rt.Fatalf("the story was %+v", story)
		}
	})
}

// settled is the time after which every node that can reach the store has the same revocations as
// the store.
const settled = storeTimeout + 2*maxRetry + time.Second

func converge(t *testing.T, story []step) {
	s := newShared()
	nodes := []*node{start(t, s, "0"), start(t, s, "1"), start(t, s, "2")}
	replica := s.snapshot()
	var added, lifted []string
	for i, step := range story {
		time.Sleep(step.after) // bubble
		n := nodes[step.node]
		switch step.what {
		case "add":
			r, _, err := n.Add(t.Context(), revocation(i%5))
			if err != nil && !errors.Is(err, store.ErrUnsaved) {
				t.Fatal(err)
			}
			added = append(added, r.ID)
		case "lift":
			page, _, err := n.List("app", "")
			if err != nil || len(page) == 0 {
				break
			}
			if _, err := n.Lift(t.Context(), "app", page[0].ID); err != nil && !errors.Is(err, store.ErrUnsaved) {
				t.Fatal(err)
			}
			lifted = append(lifted, page[0].ID)
		case "join":
			n.join(fmt.Sprint(i), uint32(i%5))
		case "cut off":
			n.link.set(cutOff)
		case "hang":
			n.link.set(hangUp)
		case "read-only":
			n.link.set(readOnly)
		case "reach":
			n.link.set(connect)
		case "lose the data":
			s.lose()
		case "snapshot":
			replica = s.snapshot()
		case "fail over":
			s.restore(replica)
		case "deafen":
			s.set(func(s *shared) { s.deaf = !s.deaf })
		case "restart":
			n.link.set(connect)
			time.Sleep(settled) // bubble
			n.stop()
			nodes[step.node] = start(t, s, fmt.Sprintf("%d.%d", step.node, i))
		}
	}
	for _, n := range nodes {
		n.link.set(connect)
	}
	time.Sleep(settled) // bubble
	happened := func(kinds ...string) bool {
		return slices.ContainsFunc(story, func(s step) bool { return slices.Contains(kinds, s.what) })
	}
	lostCounts := happened("lose the data", "fail over") && happened("cut off", "hang", "read-only", "deafen")
	wantSame(t, s, nodes, added, lifted, !lostCounts)
}

func wantSame(t *testing.T, s *shared, nodes []*node, added, lifted []string, counts bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range added {
		if r := s.data.all[id]; r.ID != id || r.Lifted != slices.Contains(lifted, id) {
			t.Errorf("the store has %+v of %s; want lifted %v", r, id, slices.Contains(lifted, id))
		}
	}
	for _, n := range nodes {
		n.Set.mu.Lock()
		for id, e := range n.entries {
			if e.Revocation != s.data.all[id] {
				t.Errorf("%s has %+v, the store %+v", n.name, e.Revocation, s.data.all[id])
			}
			if counts && e.ended != s.data.ended[id][n.name] {
				t.Errorf("%s has ended %+v for %s, in the store it is %+v", n.name, e.ended, id, s.data.ended[id][n.name])
			}
		}
		if len(n.entries) != len(s.data.all) || len(n.unsaved)+len(n.unapplied)+len(n.unreported) != 0 || n.known != s.data.version {
			t.Errorf("%s has something left to do: %+v", n.name, n.Set)
		}
		n.Set.mu.Unlock()
		if want := fmt.Sprint(s.data.version.Seq); s.statuses[n.name] != want {
			t.Errorf("%s says %q, want %q", n.name, s.statuses[n.name], want)
		}
	}
}

// TestMergeIsOrderless: whatever the order in which a node merges the versions of some revocations,
// and however often, it ends with the highest version of each.
func TestMergeIsOrderless(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		until := revocation(0).Until
		copies := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) store.Revocation {
			version := rapid.Int64Range(1, 4).Draw(rt, "version")
			return store.Revocation{
				ID: rapid.StringMatching("[a-h]").Draw(rt, "id"), Selector: store.Selector{App: "app", User: "7"}, Until: until,
				Version: version, Lifted: version%2 == 0,
			}
		}), 0, 60).Draw(rt, "copies")
		highest := make(map[string]store.Revocation)
		standing := 0
		for _, r := range copies {
			if r.Version > highest[r.ID].Version {
				highest[r.ID] = r
			}
		}
		for _, r := range highest {
			if !r.Lifted {
				standing++
			}
		}
		for range 3 {
			n := newNode(t, newShared(), "a")
			close(n.loaded)
			rest := rapid.Permutation(copies).Draw(rt, "order")
			for len(rest) > 0 {
				some := rapid.IntRange(1, len(rest)).Draw(rt, "at once")
				n.merge(rest[:some], nextChange)
				rest = rest[some:]
			}
			for id, e := range n.entries {
				if e.Revocation != highest[id] {
					rt.Errorf("the set has %+v, want %+v", e.Revocation, highest[id])
				}
			}
			page, _, _ := n.List("app", "")
			if len(n.entries) != len(highest) || len(page) != standing || n.Revoked(key("daily", 7)) != (standing > 0) {
				rt.Errorf("%d revocations, %d stand; want %d, %d", len(n.entries), len(page), len(highest), standing)
			}
		}
	})
}

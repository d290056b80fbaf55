package storetest

import (
	"fmt"
	"testing"

	"refresher/internal/session"
	"refresher/internal/store"
)

var resolveChecks = []check{
	{"by the rule", resolvesByTheRule},
	{"every pair", resolvesEveryPair},
}

// side describes the record that one of two nodes saves for a session.
type side struct {
	stage   stage
	epoch   uint64
	node    string
	version uint64
}

// record returns the record that the side saves. The argument `later` moves the expiry of the
// tokens, so that the records of the two sides differ.
func (s side) record(w *world, id string, later session.UnixSec) store.Record {
	r := w.record(id, s.node)
	r.Epoch, r.Version = s.epoch, s.version
	r.ExpiresAt += later
	w.become(&r, s.stage)
	return r
}

// resolvesByTheRule has one named case for each part of the rule of store.Resolve. Epochs and
// versions are 9 and 10, which compare differently as text, so that a store that compares text
// fails.
func resolvesByTheRule(w *world) {
	for _, test := range []struct {
		name     string
		old, new side
		want     store.Action
		kept     bool // whether the store keeps the old record, although the answer to the new one is Done
	}{
		{"a higher epoch wins", side{proven, 9, nodeA, 9}, side{attached, 10, nodeB, 1}, store.Done, false},
		{"a higher epoch wins without a connection", side{proven, 9, nodeA, 9}, side{detached, 10, nodeB, 1}, store.Done, false},
		{"a higher epoch wins even if expired", side{proven, 9, nodeA, 9}, side{expired, 10, nodeB, 1}, store.Done, false},
		{"a higher epoch wins with its end", side{proven, 9, nodeA, 9}, side{ended, 10, nodeB, 1}, store.Done, false},
		{"a higher epoch wins over one that expired", side{expired, 9, nodeA, 9}, side{detached, 10, nodeB, 1}, store.Done, false},

		{"a lower epoch loses to a connection", side{attached, 10, nodeA, 1}, side{proven, 9, nodeB, 9}, store.CloseSuperseded, false},
		{"a lower epoch loses to one that is not connected", side{detached, 10, nodeA, 1}, side{proven, 9, nodeB, 9}, store.Release, false},
		{"a lower epoch loses to one that expired", side{expired, 10, nodeA, 1}, side{proven, 9, nodeB, 9}, store.Release, false},
		{"a lower epoch cannot end it", side{attached, 10, nodeA, 1}, side{ended, 9, nodeB, 9}, store.CloseSuperseded, false},

		{"the owner loses its client", side{proven, 9, nodeA, 9}, side{detached, 9, nodeA, 10}, store.Done, false},
		{"the owner lets it expire", side{detached, 9, nodeA, 9}, side{expired, 9, nodeA, 10}, store.Done, false},
		{"the owner ends it", side{proven, 9, nodeA, 9}, side{ended, 9, nodeA, 10}, store.Done, false},
		{"the owner repeats itself", side{detached, 9, nodeA, 10}, side{proven, 9, nodeA, 10}, store.Done, false},
		{"the owner's outdated write changes nothing", side{detached, 9, nodeA, 10}, side{proven, 9, nodeA, 9}, store.Done, true},
		{"the owner's outdated write does not undo the end", side{ended, 9, nodeA, 10}, side{proven, 9, nodeA, 9}, store.Done, true},

		{"the end beats a connection", side{proven, 9, nodeA, 1}, side{ended, 9, nodeB, 1}, store.Done, false},
		{"a proven connection beats one that may not be there", side{attached, 9, nodeA, 9}, side{proven, 9, nodeB, 1}, store.Done, false},
		{"a connection beats none", side{detached, 9, nodeA, 9}, side{attached, 9, nodeB, 1}, store.Done, false},
		{"a connection beats the expiry", side{expired, 9, nodeA, 9}, side{attached, 9, nodeB, 1}, store.Done, false},
		{"none beats the expiry", side{expired, 9, nodeA, 9}, side{detached, 9, nodeB, 1}, store.Done, false},
		{"a connection loses to a proven one", side{proven, 9, nodeA, 1}, side{attached, 9, nodeB, 9}, store.Release, false},
		{"none loses to a connection", side{attached, 9, nodeA, 1}, side{detached, 9, nodeB, 9}, store.Release, false},
		{"the expiry loses to none", side{detached, 9, nodeA, 1}, side{expired, 9, nodeB, 9}, store.Release, false},
		{"of two proven connections the first stays", side{proven, 9, nodeA, 1}, side{proven, 9, nodeB, 9}, store.Release, false},
		{"of two connections the first stays", side{attached, 9, nodeA, 1}, side{attached, 9, nodeB, 9}, store.Release, false},
		{"of two without one the first stays", side{detached, 9, nodeA, 1}, side{detached, 9, nodeB, 9}, store.Release, false},
		{"of two that expired the first stays", side{expired, 9, nodeA, 1}, side{expired, 9, nodeB, 9}, store.Release, false},

		{"the end stays against a higher epoch", side{ended, 9, nodeA, 1}, side{proven, 10, nodeB, 1}, store.EndSession, false},
		{"the end stays against another node's", side{ended, 9, nodeA, 1}, side{ended, 9, nodeB, 1}, store.EndSession, false},
		{"the end stays against its owner, who finishes it", side{ended, 9, nodeA, 9}, side{proven, 9, nodeA, 10}, store.FinishEnd, false},
		{"the end stays against its expiry", side{ended, 9, nodeA, 9}, side{expired, 9, nodeA, 10}, store.EndSession, false},
		{"a tombstone stays against its owner", side{tombstone, 9, nodeA, 9}, side{proven, 9, nodeA, 10}, store.EndSession, false},
		{"the end stays against an end of a higher epoch", side{ended, 9, nodeA, 9}, side{ended, 10, nodeA, 10}, store.EndSession, false},
		{"the rest of the end is taken of its owner", side{ended, 9, nodeA, 9}, side{ended, 9, nodeA, 10}, store.Done, false},
		{"a tombstone stays against a higher epoch", side{tombstone, 9, nodeA, 1}, side{proven, 10, nodeB, 1}, store.EndSession, false},
		{"a tombstone stays against another node's end", side{tombstone, 9, nodeA, 1}, side{tombstone, 9, nodeB, 1}, store.EndSession, false},
	} {
		id := w.id()
		w.Run(test.name, func(t *testing.T) { w.in(t).resolves(id, test.old, test.new, test.want, test.kept) })
	}
}

func (w *world) resolves(id string, old, after side, want store.Action, kept bool) {
	was, r := old.record(w, id, 0), after.record(w, id, 100)
	w.saved(was)
	outcome := store.Outcome{Action: want}
	if want == store.EndSession || want == store.FinishEnd {
		outcome.Ending = was.Ending()
	}
	w.wantOutcome(&r, w.save(r)[0], outcome)
	if want != store.Done || kept {
		r = was
	}
	w.holds(&r)
}

// resolvesEveryPair saves every pair of different records, and expects the answers that
// store.Resolve gives.
func resolvesEveryPair(w *world) {
	var olds, news []side
	for _, s := range []stage{proven, attached, detached, expired, ended, removed, tombstone} {
		if s != removed { // a removed session leaves no record with which the next one could conflict
			olds = append(olds, side{s, 10, nodeA, 10})
		}
		for _, node := range []string{nodeA, nodeB} {
			for epoch := uint64(9); epoch <= 11; epoch++ {
				for version := uint64(9); version <= 11; version++ {
					news = append(news, side{s, epoch, node, version})
				}
			}
		}
	}
	var before, after []store.Record
	all := spread(len(olds) * len(news))
	for i, old := range olds {
		for j, s := range news {
			id := all[i*len(news)+j]
			before, after = append(before, old.record(w, id, 0)), append(after, s.record(w, id, 100))
		}
	}
	w.saved(before...)
	for i, got := range w.save(after...) {
		old, r := &before[i], &after[i]
		what := fmt.Sprintf("%+v after %+v", news[i%len(news)], olds[i/len(news)])
		want, replace := store.Resolve(old, r)
		holds := old
		if replace {
			holds = r
		}
		if got != want {
			w.Errorf("%s: %s, want %s", what, outcomeText(got), outcomeText(want))
			continue
		}
		if holds.Removable() {
			w.unknown(holds.Session)
		} else {
			w.holds(holds)
		}
		if w.Failed() {
			w.Fatalf("that was %s", what)
		}
	}
}

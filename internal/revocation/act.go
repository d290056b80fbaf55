package revocation

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// statusTopic is the topic of this package's statuses in store.Nodes. A node's status is a
	// RevocationsVersion.Seq: the node has ended all sessions that match the revocations up to that
	// number.
	statusTopic = "revocations"
	// statusEvery is how often a node writes its unchanged status again, in case the store has lost
	// it.
	statusEvery = 10 * time.Second
)

// act ends the sessions that new revocations match, and writes the progress into the store,
// until ctx is done.
func (s *Set) act(ctx context.Context) {
	var written int64 // the status that was last written
	var at time.Time
	var retry backoff
	for {
		seq := s.endAll()
		write, cancel := context.WithTimeout(ctx, storeTimeout)
		err := s.report(write)
		if err == nil && s.Loaded() && (seq != written || time.Since(at) >= statusEvery) {
			err = s.config.Nodes.SetStatus(write, s.config.Node, statusTopic, strconv.FormatInt(seq, 10))
			written, at = seq, time.Now()
		}
		cancel()
		if err != nil { // the error is not logged here, since the replicator logs that the store is down
			at = time.Time{}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wakeAct:
		case <-time.After(cmp.Or(retry.after(err), statusEvery)):
		}
	}
}

// endAll ends the sessions that new revocations match. It returns this node's new status (see
// statusTopic).
func (s *Set) endAll() int64 {
	s.mu.Lock()
	entries, seq := s.unapplied, s.reachedSeq
	s.unapplied = nil
	for _, before := range s.ending {
		seq = min(seq, before)
	}
	s.mu.Unlock()
	s.end(entries)
	return seq
}

// few is the maximum number of revocations that are compared with each session one by one. For more
// of them it is faster to build an index by Selector, and to look up each session there.
const few = 8

// end ends the sessions that match at least one of the revocations in `entries`.
func (s *Set) end(entries []*entry) {
	now := s.now()
	byID := make(map[string]*entry)
	var standing []*entry // copies of the entries, which can be read without the lock
	s.mu.RLock()
	end := s.endSessions
	for _, e := range entries {
		if s.entries[e.ID] == e && e.Standing(now) {
			byID[e.ID] = e
			standing = append(standing, &entry{Revocation: e.Revocation})
		}
	}
	s.mu.RUnlock()
	if end == nil || len(standing) == 0 {
		return
	}
	end(matcher(standing, now), func(id string, accessEndsAt session.UnixSec) { s.noteEnded(byID[id], accessEndsAt) })
}

// matcher returns a function that finds a revocation that matches a session. That function
// returns the revocation's id, or "".
func matcher(standing []*entry, now session.UnixSec) func(*session.ResumeClaims) (id string) {
	if len(standing) <= few {
		return func(k *session.ResumeClaims) string {
			for _, e := range standing {
				if e.Matches(k) {
					return e.ID
				}
			}
			return ""
		}
	}
	only := make(projects)
	for _, e := range standing {
		only.of(e.App).add(e)
	}
	return func(k *session.ResumeClaims) string {
		if p := only[k.App]; p != nil {
			if e := p.match(k, now); e != nil {
				return e.ID
			}
		}
		return ""
	}
}

func (s *Set) noteEnded(e *entry, accessEndsAt session.UnixSec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.ended.Sessions++
	e.ended.AccessEndsAt = max(e.ended.AccessEndsAt, accessEndsAt)
	if s.entries[e.ID] == e {
		s.unreported[e] = struct{}{}
		signal(s.wakeAct)
	}
}

// report writes the counts of ended sessions into the store.
func (s *Set) report(ctx context.Context) error {
	s.mu.RLock()
	entries := slices.Collect(maps.Keys(s.unreported))
	s.mu.RUnlock()
	for _, e := range entries {
		s.mu.RLock()
		r, ended := e.Revocation, e.ended
		s.mu.RUnlock()
		if err := s.config.Store.PutEnded(ctx, r, s.config.Node, ended); err != nil {
			return err
		}
		s.mu.Lock()
		if e.ended == ended {
			delete(s.unreported, e)
		}
		s.mu.Unlock()
	}
	return nil
}

// await polls the progress until it is complete or the deadline has passed.
func (s *Set) await(ctx context.Context, e *entry, deadline time.Time) store.Progress {
	if soon := time.Now().Add(2 * lookEvery); deadline.Before(soon) {
		deadline = soon // ending this node's sessions took long; read the progress once more, since the other nodes may be done
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	p := s.progress(ctx, e)
	for !p.Complete && pause(ctx, lookEvery) {
		if newer := s.progress(ctx, e); ctx.Err() == nil {
			p = newer
		}
	}
	return p
}

// progress reads the progress of all nodes from the store.
func (s *Set) progress(ctx context.Context, e *entry) store.Progress {
	// Each node writes its counts before its status. So progress reads the statuses first: if all
	// statuses say that their nodes are done, the counts that are read afterwards are complete.
	statuses, statusErr := s.config.Nodes.Statuses(ctx, statusTopic)
	stored, err := s.config.Store.RevocationProgress(ctx, e.ID)
	p := s.progressHere(e)
	if err != nil {
		return p
	}
	for node, ended := range stored.Ended {
		if node != s.config.Node { // progressHere has this node's own count, which is newer than the stored one
			p.Ended += ended.Sessions
			p.AccessEndsAt = max(p.AccessEndsAt, ended.AccessEndsAt)
		}
	}
	if statusErr != nil || stored.Seq == 0 {
		return p
	}
	for node, status := range statuses {
		if seq, _ := strconv.ParseInt(status, 10, 64); seq < stored.Seq {
			p.WaitingFor = append(p.WaitingFor, node)
		}
	}
	slices.Sort(p.WaitingFor)
	p.Complete = len(p.WaitingFor) == 0
	return p
}

func (s *Set) progressHere(e *entry) store.Progress {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return store.Progress{Ended: e.ended.Sessions, AccessEndsAt: e.ended.AccessEndsAt}
}

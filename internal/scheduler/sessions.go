package scheduler

import (
	"crypto/rand"
	"log/slog"

	"refresher/internal/session"
)

// errFull refuses a join when the node has all the sessions it may have.
var errFull = session.Errorf(session.CodeUnavailable, "this node has no room for another session; try again later")

// Join opens a session for client and sends it `joined`. The error is a
// *session.Error where the request is at fault or the node is full.
func (s *Scheduler) Join(j session.Join, client session.Client) (session.Attachment, error) {
	now := s.clock.now()
	terms, err := s.config.Policy.Terms(j.TTL, now)
	if err != nil {
		return nil, err
	}
	key := session.Key{Session: rand.Text(), App: s.config.App, Identity: j.Identity, Terms: terms}
	e := &entry{id: key.Session, session: session.New(key, &s.config.Policy, now)}
	e.mu.Lock()
	defer e.mu.Unlock()
	tokens, err := s.mint(e.session, session.CauseJoin, now)
	if err != nil {
		return nil, err
	}
	if !s.add(e) {
		return nil, errFull
	}
	return s.attach(e, tokens, client, now)
}

// Resume gives a session that is open, here or only in its key, a new
// connection with fresh tokens, and sends it `joined`. An attachment that is
// still there is told that it was superseded. The error is session.ErrUnknown
// when the key is no good, and a *session.EndedError when the session is over
// or the key is not its newest.
func (s *Scheduler) Resume(r session.Resume, client session.Client) (session.Attachment, error) {
	e, now, err := s.reopen(r)
	if err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	tokens, err := s.mint(e.session, session.CauseResume, now)
	if err != nil {
		s.abandon(e)
		return nil, err
	}
	old := e.client
	a, err := s.attach(e, tokens, client, now)
	switch {
	case old == nil:
	case err != nil: // nobody took its place: it may come back
		old.Lost()
	default:
		old.End(e.session.Ending(session.EndSuperseded))
	}
	return a, err
}

// RenewByKey is the way out for a client whose WebSocket is blocked: fresh
// tokens against its resume key. A connection that the session has stays.
// Errors are as for Resume.
func (s *Scheduler) RenewByKey(r session.Resume) (session.Push, error) {
	e, now, err := s.reopen(r)
	if err != nil {
		return session.Push{}, err
	}
	defer e.mu.Unlock()
	if r.SeqUnknown && e.session.Asked(now) == session.Renew {
		s.confirmed(e.session.AssumeTaken(now))
	}
	if e.session.Asked(now) == session.Repeat {
		defer s.commit(e)
		return e.session.Repeat(now), nil
	}
	push, err := s.issue(e, session.CauseRenew, now)
	if err != nil {
		s.abandon(e)
		return session.Push{}, err
	}
	s.log(e, slog.LevelInfo, "session renewed over HTTP", "seq", push.Seq)
	s.commit(e)
	return push, nil
}

// reopen finds the session that r has the key to, or makes it anew from the
// key, and takes note of what r says that the client has. On success e.mu is
// held, and the caller must commit or abandon.
func (s *Scheduler) reopen(r session.Resume) (*entry, session.Instant, error) {
	now := s.clock.now()
	if err := r.Check(); err != nil {
		return nil, now, err
	}
	key, err := s.config.Sealer.Open(r.Session, r.Key)
	if err != nil {
		return nil, now, err
	}
	if key.App != s.config.App {
		return nil, now, session.ErrUnknown
	}
	e, err := s.find(key, now)
	if err != nil {
		return nil, now, err
	}
	if err := s.takeUp(e, key, r, now); err != nil {
		s.abandon(e)
		e.mu.Unlock()
		return nil, now, err
	}
	return e, now, nil
}

// takeUp checks r against the session and takes note of what it confirms.
func (s *Scheduler) takeUp(e *entry, key session.Key, r session.Resume, now session.Instant) error {
	if key.Epoch > e.session.Epoch() && e.client != nil {
		// The client has been on another node since: what is connected here
		// is a connection that it has given up.
		e.client.End(e.session.Ending(session.EndSuperseded))
		s.detach(e, e.session.Epoch(), now)
	}
	if err := e.session.Admit(key.Epoch); err != nil {
		return err
	}
	s.confirmed(e.session.Confirm(r.Seq, r.ExpiresAt, now))
	return nil
}

// confirmed counts a renewal that the client confirmed in passing.
func (s *Scheduler) confirmed(a session.Acked) {
	if a.Settled {
		s.metrics.acked(a)
	}
}

// find returns the session's entry, locked; one that this node does not know
// is made from the key. The error is an EndedError.
func (s *Scheduler) find(key session.Key, now session.Instant) (*entry, error) {
	for {
		s.mu.Lock()
		if ending, ok := s.ended.endings[key.Session]; ok {
			s.mu.Unlock()
			return nil, &session.EndedError{Ending: ending}
		}
		e := s.entries[key.Session]
		if e == nil {
			e = &entry{id: key.Session, session: session.New(key, &s.config.Policy, now)}
			e.mu.Lock() // free: nobody else has it
			s.insert(e)
			s.mu.Unlock()
			return e, nil
		}
		s.mu.Unlock()
		e.mu.Lock()
		if e.session.State() != session.Ended {
			return e, nil
		}
		e.mu.Unlock() // it ended between the two locks: look again
	}
}

// abandon ends the handling of a key that came to nothing: a session that was
// made from it alone is forgotten, any other stays as it is. e.mu is held.
func (s *Scheduler) abandon(e *entry) {
	if !e.session.Issued() {
		s.discard(e)
	}
	s.commit(e)
}

// discard ends a session that never came to be. e.mu is held.
func (s *Scheduler) discard(e *entry) {
	e.reason, e.client = session.EndExpired, nil
	e.session.End()
}

// add puts a new entry into the table, unless that is full.
func (s *Scheduler) add(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config.MaxSessions > 0 && len(s.entries) >= s.config.MaxSessions {
		return false
	}
	s.insert(e)
	return true
}

// insert puts a new entry into the table. s.mu is held.
func (s *Scheduler) insert(e *entry) {
	s.entries[e.id] = e
	e.counted = session.Detached
	s.metrics.sessions[session.Detached].Inc()
}

// attach gives the session the connection client and tells it so. It commits.
// e.mu is held.
func (s *Scheduler) attach(e *entry, tokens session.Tokens, client session.Client, now session.Instant) (session.Attachment, error) {
	defer s.commit(e)
	resumed := e.session.Epoch() > 0
	push := e.session.Attach(tokens, now)
	epoch := e.session.Epoch()
	e.client = client
	sealed, err := s.config.Sealer.Seal(e.session.Key())
	if err == nil {
		err = client.Joined(session.Joined{
			Push: push, Session: e.id, Key: sealed, Resumed: resumed,
			RenewBefore: int64(e.session.RenewBefore().Seconds()),
		})
	}
	switch {
	case err != nil && resumed:
		s.detach(e, epoch, now)
		return nil, err
	case err != nil:
		s.discard(e) // nobody has its key
		return nil, err
	}
	if resumed {
		s.log(e, slog.LevelInfo, "session resumed", "epoch", epoch, "seq", push.Seq)
	} else {
		s.log(e, slog.LevelInfo, "session joined", "ttl_seconds", int64(e.session.Terms.TTL.Seconds()))
	}
	return &attachment{scheduler: s, entry: e, epoch: epoch}, nil
}

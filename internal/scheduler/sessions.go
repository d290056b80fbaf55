package scheduler

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// errFull refuses a join when the node has all the sessions it may have. Room
// comes when a call ends, or by a balancer that sends the client elsewhere.
var errFull = &session.Error{Code: session.CodeUnavailable, Message: "this node has no room for another session; try again", RetryAfter: 5 * time.Second}

// Join opens a session for client and sends it `joined`. The error is a
// *session.Error where the request is at fault or the node is full. If ctx ends while
// Join waits for the customer's back end, Join returns its error and leaves nothing behind.
func (s *Scheduler) Join(ctx context.Context, j session.Join, client session.Client) (a session.Attachment, err error) {
	now := s.clock.now()
	if !s.config.Revocations.Loaded() {
		return nil, session.ErrUninformed
	}
	caller := &j.Caller
	if err := caller.Grant.Covers(j.Identity); err != nil {
		return nil, err
	}
	terms, err := s.config.Policy.Terms(&j, now)
	if err != nil {
		return nil, err
	}
	id := rand.Text()
	trail := s.newTrail("join", id, now.Wall)
	ctx = trail.in(ctx)
	defer func() { trail.refused(err) }()
	key := session.Key{Session: id, App: caller.App, Subject: caller.Subject, Identity: j.Identity, Terms: terms}
	until, err := s.mayJoin(ctx, &key)
	if err != nil {
		return nil, err
	}
	now = s.clock.now() // that may have taken a moment
	opened := session.New(key, &s.config.Policy, now)
	opened.Approve(until, now)
	e := newEntry(opened)
	e.mu.Lock()
	defer e.unlock()
	defer s.contain(e, &err)
	tokens, err := s.mint(ctx, e.session, session.CauseJoin, now)
	if ended, ok := errors.AsType[*session.EndedError](err); ok { // before it began
		if ended.Reason == session.EndRevoked {
			return nil, session.ErrRevoked
		}
		return nil, session.ErrDenied
	}
	if err != nil {
		return nil, err
	}
	if !s.add(e) {
		return nil, errFull
	}
	defer s.commit(e)
	if s.config.Revocations.Revoked(&e.key) { // by a revocation that came before it was in the table
		s.discard(e)
		return nil, session.ErrRevoked
	}
	return s.attach(e, trail, tokens, client, now)
}

// Resume gives a session that is open, here or only in its key, a new
// connection with fresh tokens, and sends it `joined`. An attachment that is
// still there is told that it was superseded. The error is session.ErrUnknown
// when the key is no good, and a *session.EndedError when the session is over
// or the key is not its newest. If ctx ends before the store is asked for the session,
// Resume returns its error and leaves everything as it was.
func (s *Scheduler) Resume(ctx context.Context, r session.Resume, client session.Client) (a session.Attachment, err error) {
	trail := s.newTrail("resume", r.Session, session.NanoOf(s.clock.wall()))
	defer func() { trail.refused(err) }()
	ctx = trail.in(ctx)
	e, held, now, err := s.reopen(ctx, r, true)
	if err != nil {
		return nil, err
	}
	defer e.unlock()
	defer s.contain(e, &err)
	tokens, err := s.mint(ctx, e.session, session.CauseResume, now)
	if err != nil {
		s.abandon(e)
		return nil, err
	}
	old := e.client
	defer func() {
		switch {
		case old == nil:
		case a == nil: // no new connection took its place: its client may come back
			old.Lost()
		default:
			old.End(e.session.Ending(session.EndSuperseded))
		}
	}()
	a, err = s.attach(e, trail, tokens, client, now)
	if err == nil && held.Known && held.Epoch == e.session.Epoch() {
		s.known(e)
	}
	s.commit(e)
	return a, err
}

// RenewByKey is the way out for a client whose WebSocket is blocked: fresh
// tokens against its resume key. A connection that the session has stays.
// Errors are as for Resume.
func (s *Scheduler) RenewByKey(ctx context.Context, r session.Resume) (push session.Push, err error) {
	trail := s.newTrail("renewal over HTTP", r.Session, session.NanoOf(s.clock.wall()))
	defer func() { trail.refused(err) }()
	ctx = trail.in(ctx)
	e, held, now, err := s.reopen(ctx, r, false)
	if err != nil {
		return session.Push{}, err
	}
	defer e.unlock()
	defer s.contain(e, &err)
	s.postpone(e)
	if held.Known && held.Record.State == session.Attached && !s.owns(&held.Record) {
		e.session.Skip()
	}
	if r.SeqUnknown && e.session.AskedOverHTTP(now) == session.Renew {
		s.confirmed(e.session.AssumeTaken(now))
	}
	e.replaceTrail(trail)
	if e.session.AskedOverHTTP(now) == session.Repeat {
		defer s.commit(e)
		trail.conclude("repeated")
		e.session.Unspent()
		return e.session.Again(now), nil
	}
	push, err = s.issue(e, session.CauseRenew, now)
	if err != nil {
		s.abandon(e)
		return session.Push{}, err
	}
	trail.conclude("answered")
	s.log(e, slog.LevelInfo, "session renewed over HTTP", "seq", push.Seq)
	s.commit(e)
	return push, nil
}

// Open decrypts the key in r and stores what it says in r.Claims. It refuses a key that
// is made up, revoked, superseded or past its end, and one whose session has ended, as
// far as this node knows: it asks neither the store nor the back end, so that a bad key
// costs other clients nothing. Errors are as for Resume.
func (s *Scheduler) Open(r *session.Resume) error {
	if err := r.Check(); err != nil {
		return err
	}
	key, err := s.config.Sealer.Open(r.Session, r.Key)
	if err != nil {
		return err
	}
	if !s.config.Serves(key.App) {
		return session.ErrUnknown
	}
	if err := s.mayReturn(&key, r); err != nil {
		return err
	}
	if _, err := s.peek(key); err != nil {
		return err
	}
	if key.Terms.Until <= s.clock.now().Sec() {
		return &session.EndedError{Ending: session.Ending{Reason: session.EndExpired, AccessEndsAt: min(r.ExpiresAt, key.Terms.Until)}}
	}
	r.Claims = &key
	return nil
}

// reopen finds the session that r has the key to, or makes it anew from the
// store's record or the key, and takes note of what r says that the client has.
// attach says whether it is to have the caller's connection. On success e.mu is
// held, and the caller must commit or abandon.
func (s *Scheduler) reopen(ctx context.Context, r session.Resume, attach bool) (*entry, store.Acquired, session.Instant, error) {
	fail := func(err error) (*entry, store.Acquired, session.Instant, error) {
		return nil, store.Acquired{}, session.Instant{}, err
	}
	if r.Claims == nil {
		if err := s.Open(&r); err != nil {
			return fail(err)
		}
	}
	key := *r.Claims
	connected, err := s.peek(key)
	if err != nil {
		return fail(err)
	}
	action := session.ActionRenew
	if attach {
		action = session.ActionResume
	}
	asked := s.inRole(ctx, key)
	answer, unasked := s.consent(ctx, action, &asked)
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	var held store.Acquired
	if attach || !connected {
		if held, err = s.acquire(ctx, key, attach); err != nil {
			return fail(err)
		}
	}
	now := s.clock.now()
	e, made, err := s.find(key, held, now)
	if err != nil {
		return fail(err)
	}
	back := returning{key: key, resume: r, held: held, made: made, answer: answer, asked: unasked == nil, role: roleOf(asked.Identity), attach: attach}
	if err := s.readmit(e, &back, now); err != nil {
		e.unlock()
		return fail(err)
	}
	return e, held, now, nil
}

// returning is a client that is back, with what the store and the customer's back
// end said of its session.
type returning struct {
	key    session.Key
	resume session.Resume
	held   store.Acquired
	made   bool // the session was not here: it was made from held, or the key
	answer Answer
	asked  bool         // the back end has answered
	role   session.Role // that it was asked about
	attach bool         // the client is to have a connection
}

// readmit brings a session up to date for the client that is back. On an error the
// session is ended or abandoned. e.mu is held.
func (s *Scheduler) readmit(e *entry, back *returning, now session.Instant) (err error) {
	defer s.contain(e, &err)
	held := &back.held
	if !back.made && held.Known && !s.owns(&held.Record) && held.Record.Epoch >= e.session.Epoch() {
		// It has been on another node since, which knows better.
		s.supersede(e, now)
		newer := s.makeEntry(back.key, *held, now)
		role := roleOf(e.session.Identity)
		e.session, e.delivered, e.announced = newer.session, newer.delivered, 0
		if newer.wish < e.wish { // made here while the store was away
			e.session.SetRole(role)
		}
		e.wish = max(e.wish, newer.wish)
	}
	if err := s.revokedMeanwhile(e, *held); err != nil {
		return err
	}
	if err := s.takeUp(e, back.key, back.resume, now); err != nil {
		e.session.Fence(held.Epoch) // the store has this epoch already
		s.abandon(e)
		return err
	}
	if r := &held.Record; held.Known && r.WishVersion > e.wish {
		cause := s.adoptRole(e, r.WishVersion, roleOf(r.Identity))
		if e.session.AskedOverHTTP(now) == session.Repeat { // the same tokens again
			e.session.Want(cause, now)
		}
	}
	asked := back.asked && (s.config.Consent == nil || back.role == roleOf(e.session.Identity))
	if err := s.answered(e, back.answer, asked, now); err != nil {
		return err
	}
	fence := held.Epoch
	if back.attach && fence > 0 {
		fence-- // attaching raises it
	}
	e.session.Fence(fence)
	return nil
}

// peek looks at what this node knows of a session, before the store is asked:
// whether the client that key was handed to has its connection here, and whether
// the key is good for nothing any more.
func (s *Scheduler) peek(key session.Key) (connected bool, err error) {
	e := s.lookUp(key.Session)
	if e == nil {
		return false, nil
	}
	e.mu.Lock()
	defer e.unlock()
	if e.endedOnPurpose() {
		return false, &session.EndedError{Ending: e.session.Ending(e.reason)}
	}
	return e.client != nil && e.session.Epoch() >= key.Epoch, e.session.Refusal(key.Epoch)
}

// lookUp is the session's entry, open or ended, if this node has it.
func (s *Scheduler) lookUp(id string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.entries[id], s.ended[id])
}

// takeUp checks r against the session and takes note of what it confirms.
func (s *Scheduler) takeUp(e *entry, key session.Key, r session.Resume, now session.Instant) error {
	if key.Epoch > e.session.Epoch() {
		// The client has been on another node since: what is connected here
		// is a connection that it has given up.
		s.supersede(e, now)
	}
	if err := e.session.Admit(key.Epoch); err != nil {
		return err
	}
	s.confirmed(e.session.Confirm(r.Seq, r.ExpiresAt, now))
	return nil
}

// supersede ends a connection whose client has a newer one elsewhere. e.mu is
// held.
func (s *Scheduler) supersede(e *entry, now session.Instant) {
	if e.client != nil {
		e.client.End(e.session.Ending(session.EndSuperseded))
		s.detach(e, e.session.Attachment(), now)
	}
}

// confirmed counts a renewal that the client confirmed in passing.
func (s *Scheduler) confirmed(a session.Acked) {
	if a.Settled {
		s.metrics.acked(a, nil)
	}
}

// find returns the session's entry, locked; one that this node does not know
// is made from what the store held, or from the key. The error is an EndedError.
func (s *Scheduler) find(key session.Key, held store.Acquired, now session.Instant) (e *entry, made bool, err error) {
	for {
		s.mu.Lock()
		over := s.ended[key.Session]
		e = s.entries[key.Session]
		if over != nil && e == nil && over.reason != session.EndExpired { // since it was looked at
			s.mu.Unlock()
			return nil, false, s.endAgain(over, held)
		}
		s.mu.Unlock()
		if e == nil {
			e = s.makeEntry(key, held, now)
			e.mu.Lock() // free: nobody else has it
			if s.insertNew(e, over) {
				return e, true, nil
			}
			continue // another goroutine was faster: look again
		}
		e.mu.Lock()
		if e.session.State() == session.Ended { // between the two locks: look again
			e.unlock()
			continue
		}
		if !key.Fits(&e.key) { // it was adopted from a record that does not match the key
			s.expel(e)
			continue
		}
		return e, false, nil
	}
}

// expel takes a session whose record does not match its key off this node, and unlocks
// it.
func (s *Scheduler) expel(e *entry) {
	defer e.unlock()
	defer s.contain(e, nil)
	s.misfit(e.id)
	s.discard(e)
	s.commit(e)
}

// endAgain has the store told once more of the end of a session that it was
// acquired after. The error is an EndedError.
func (s *Scheduler) endAgain(e *entry, held store.Acquired) (err error) {
	e.mu.Lock()
	defer e.unlock()
	defer s.contain(e, &err)
	e.session.Fence(held.Epoch)
	s.commit(e)
	return &session.EndedError{Ending: e.session.Ending(e.reason)}
}

// makeEntry makes an entry for a session that is not on this node: from its record in the
// store, or from its key if the store has none.
func (s *Scheduler) makeEntry(key session.Key, held store.Acquired, now session.Instant) *entry {
	if !held.Known {
		return newEntry(session.New(key, &s.config.Policy, now))
	}
	r := held.Record
	if r.State == session.Ended { // nobody came back to it, until now
		r.State, r.Reason = session.Detached, ""
		r.DetachedAt = now.Milli()
		r.Delivered &^= store.DeliveredEnd
	}
	return s.restore(&r, now)
}

// abandon ends the handling of a key that came to nothing: a session that was
// made from it alone is forgotten, any other stays as it is. e.mu is held.
func (s *Scheduler) abandon(e *entry) {
	if !e.session.Issued() {
		s.discard(e)
	}
	s.commit(e)
}

// discard lets go of a session that never came to be, or is another node's.
// Nobody is told. e.mu is held.
func (s *Scheduler) discard(e *entry) {
	e.lost, e.client = true, nil
	e.session.End()
}

// add puts a new entry into the table, unless that is full of sessions that have
// their clients.
func (s *Scheduler) add(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config.MaxSessions > 0 && len(s.entries)-s.adopted-s.waiting.Len() >= s.config.MaxSessions {
		return false
	}
	s.insert(e)
	return true
}

// insertNew puts a new entry into the table, unless its session is there by now, or
// has come to another end here than the one that the caller knows.
func (s *Scheduler) insertNew(e, over *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[e.id] != nil || s.ended[e.id] != over {
		return false
	}
	s.insert(e)
	return true
}

// insert puts a new entry into the table. s.mu is held.
func (s *Scheduler) insert(e *entry) {
	s.entries[e.id] = e
	if e.adopted {
		s.adopted++
	}
	e.counted = session.Detached
	s.metrics.sessions[session.Detached].Inc()
}

// attach gives the session the connection client and tells it so. The caller
// commits. e.mu is held.
func (s *Scheduler) attach(e *entry, t *trail, tokens session.Tokens, client session.Client, now session.Instant) (session.Attachment, error) {
	resumed := e.session.Epoch() > 0
	push := e.session.Attach(tokens, now)
	if push.Rejoin {
		e.session.ReportRunOut() // before it came back: no news when it asks again
	}
	epoch := e.session.Epoch()
	e.client = client
	e.replaceTrail(t)
	t.issued(&push)
	s.mu.Lock()
	s.countAsOwn(e)
	s.mu.Unlock()
	sealed, err := s.config.Sealer.Seal(e.session.Key())
	if err == nil {
		_, span := s.span(t.context(), "push")
		err = client.Joined(session.Joined{
			Push: push, Session: e.id, Key: sealed, Resumed: resumed,
			RenewBefore: e.session.RenewBefore(),
		})
		endSpan(span, err)
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
		s.sent(t, push.Attempt)
		s.log(e, slog.LevelInfo, "session resumed", "epoch", epoch, "seq", push.Seq)
	} else { // a first join needs no ack
		t.conclude("joined")
		s.log(e, slog.LevelInfo, "session joined", "ttl_seconds", int64(e.session.Terms.TTL.Seconds()))
	}
	return &attachment{scheduler: s, entry: e, epoch: epoch}, nil
}

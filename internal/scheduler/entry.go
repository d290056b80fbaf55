package scheduler

import (
	"time"

	"refresher/internal/logging"
	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// entry is one session on this node. Its lock is held while the session is changed, while
// its tokens are minted and while a push is written, so that the operations on one session
// are serialised. A method that changes the session must be called with the lock held; its
// caller commits.
type entry struct {
	lock   // guards the fields below, except slot and the ones marked fixed
	engine *Scheduler
	claims session.ResumeClaims // fixed: the key when the entry was made; epoch, role and terms may have changed since

	session   *session.Session
	client    session.Client    // nil while detached
	reason    session.EndReason // set once it has ended
	wish      session.UnixMilli // version of the newest operator's wish that was acted on
	saved     summary           // of the newest record enqueued
	version   uint64            // of that record
	lost      bool              // it ended on this node only: another node has it, or its join failed
	delivered store.Delivered   // events that the back end has acknowledged, or that were given up
	sent      store.Delivered   // events that were handed over for delivery
	counted   session.State     // the state under which the metrics count it

	operation *operation       // the trace of the current operation; nil: none
	refusals  logging.Throttle // of the client's SDK, in the log

	slot slot // guarded by the table's lock
}

func (s *Scheduler) newEntry(of *session.Session) *entry {
	return &entry{engine: s, claims: of.Claims(), session: of, counted: session.Detached}
}

// restore makes an entry from a record.
func (s *Scheduler) restore(r *store.Record, now session.Instant) *entry {
	if r.State != session.Ended { // a node without webhooks may have set it
		r.Delivered &^= store.DeliveredEnd
	}
	e := s.newEntry(session.Restore(r.Record, &s.config.Policy, now))
	e.reason, e.delivered = r.Reason, r.Delivered
	e.version, e.wish = r.Version, r.WishVersion // this node's records continue from these
	return e
}

// hasEndedOnPurpose reports whether the session has ended for good, so that its resume keys
// are refused. An expired session can be opened anew by its key.
func (e *entry) hasEndedOnPurpose() bool {
	return e.session.State() == session.Ended && !e.lost && e.reason != session.EndExpired
}

// change calls f with the session locked, now or when the current holder of the lock
// releases it, and then commits unless f returns false, for no change.
func (e *entry) change(f func() bool) {
	e.Do(func() {
		defer e.contain(nil)
		if f() {
			e.commit()
		}
	})
}

// contain is deferred while e is locked. It recovers from a panic in the handling of one
// session, so that the process goes on. Since the session's state may be inconsistent, the
// session is removed from this node, and only from this node: its connection is closed, and
// its client resumes with its key, which restores the session from the store or the key.
// contain sets *failed to panics.ErrPanicked unless failed is nil.
func (e *entry) contain(failed *error) {
	reports := e.engine.config.Panics
	if reports == nil {
		return
	}
	value := recover()
	if value == nil {
		return
	}
	reports.Report(panics.Session, value, "session", e.claims.Session)
	if failed != nil {
		*failed = panics.ErrPanicked
	}
	defer reports.Recover(panics.Session, nil, "session", e.claims.Session)
	open, _ := e.engine.table.find(e.claims.Session)
	client := e.client
	e.discard()
	e.engine.table.remove(e, false)
	e.engine.table.forget(e)
	if client != nil {
		client.CloseDead()
	}
	if open == e {
		e.commit()
	}
}

// attach gives the session the connection client, and sends `joined` on it.
func (e *entry) attach(o *operation, tokens session.Tokens, client session.Client, now session.Instant) (session.Attachment, error) {
	s := e.engine
	resumed := e.session.Epoch() > 0
	push := e.session.Attach(tokens, now)
	if push.Rejoin {
		e.session.ReportExpiry() // the tokens expired while the client was away: not reported again
	}
	epoch := e.session.Epoch()
	e.client = client
	s.tracer.replace(e, o)
	e.emit(of(evIssued, &push))
	s.table.clearAdopted(e)
	sealed, err := s.config.Sealer.Seal(e.session.Claims())
	if err == nil {
		_, span := s.tracer.span(o.context(), "push")
		err = client.Joined(session.Joined{Push: push, Session: e.claims.Session, Key: sealed, Resumed: resumed, RenewBefore: e.session.RenewBefore()})
		endSpan(span, err)
	}
	switch {
	case err != nil && resumed:
		e.detach(epoch, now)
		return nil, err
	case err != nil:
		e.discard() // no client has its key
		return nil, err
	case resumed:
		e.emit(of(evResumed, &push))
	default: // a first join needs no ack
		e.emit(event{kind: evJoined})
	}
	return &attachment{entry: e, epoch: epoch}, nil
}

// detach records that the session has lost the connection of this epoch.
func (e *entry) detach(epoch uint64, now session.Instant) {
	if e.session.Detach(epoch, now) {
		e.client = nil
		e.emit(event{kind: evDetached})
	}
}

// supersede closes the connection because the client has a newer one elsewhere.
func (e *entry) supersede(now session.Instant) {
	if e.client != nil {
		e.client.End(e.session.Ending(session.EndSuperseded))
		e.detach(e.session.AttachedEpoch(), now)
	}
}

// end ends the session for good and tells its client.
func (e *entry) end(reason session.EndReason) {
	ending := e.session.Ending(reason)
	e.reason = reason
	e.session.End()
	e.emit(event{kind: evEnded})
	if e.client != nil {
		e.client.End(ending)
		e.client = nil
	}
}

// discard drops a session whose join failed or that another node owns. It sends no events
// and saves no record.
func (e *entry) discard() {
	e.lost, e.client = true, nil
	e.session.End()
}

// commit must be called after every change to the session. It alone passes the change on:
// to your back end (events), the store, the queue and the metrics.
func (e *entry) commit() {
	s := e.engine
	state := e.session.State()
	e.session.SetSigner(s.signers.of(e.session.App))
	if state != e.counted {
		e.emit(event{kind: evMoved})
		e.counted = state
	}
	defer s.tracer.close(e)
	if e.lost {
		e.emit(event{kind: evDropped})
		s.table.remove(e, false)
		return
	}
	e.sendEvents()
	if state == session.Ended {
		s.table.remove(e, true) // before save, since the store's answer may remove it from table.ended
	}
	e.save()
	if state != session.Ended && s.table.place(e) {
		s.makeRoom(e)
	}
}

// save enqueues the session's record, unless its summary is that of the last one enqueued.
func (e *entry) save() {
	s := e.engine
	now := s.clock.now()
	r := e.session.Record(e.reason, now)
	next := summarize(e, &r)
	if next == e.saved || !e.session.Issued() {
		return
	}
	due := e.session.Deadline()
	if r.State == session.Ended {
		due = now.Mono // the event of its end is not delivered yet
	}
	within := time.Duration(0)
	if next.renews(&e.saved) {
		within = saveWithin(r.Terms.TTL)
	}
	e.saved = next
	e.version++
	if !s.cluster.Enqueue(e.operation.context(), &store.Record{
		Record: r, Node: s.config.Node, Version: e.version, Delivered: e.delivered, Due: now.MilliAt(due), WishVersion: e.wish,
		TermsChanged: r.Terms != e.claims.Terms,
	}, within, e) {
		s.table.forget(e)
	}
}

// saveWithin returns how long the record of a confirmed renewal may wait in the
// write-behind, so that more records share one write: a twentieth of the tokens' lifetime,
// at most one second, and 0 for lifetimes under ten seconds. If the node dies before the
// record is saved, the session's next owner has the previous record. It then mints tokens
// earlier than necessary, or reports an absent client by the expiry of its older tokens.
func saveWithin(ttl time.Duration) time.Duration {
	if ttl < 10*time.Second {
		return 0
	}
	return min(ttl/20, time.Second)
}

// summary holds the parts of a record that must be saved when they change.
type summary struct {
	epoch, proven, seq, held uint64
	expiresAt, until         session.UnixSec
	wish                     session.UnixMilli
	state                    session.State
	role                     session.Role
	missed, ranOut, reported bool
	delivered                store.Delivered
	any                      bool // false in the zero value, which differs from every record's summary
}

// summarize returns the summary of r, the record of e. While a connected client has not
// confirmed the newest bundle, the summary has the bundle before it: so a renewal is saved
// once, when it is confirmed, and not also when it is pushed.
func summarize(e *entry, r *session.Record) summary {
	w := summary{
		epoch: r.Epoch, proven: r.Proven, seq: r.Seq, held: r.HeldSeq, expiresAt: r.ExpiresAt, until: r.Terms.Until, role: roleOf(r.Identity),
		state: r.State, missed: r.Unreachable, ranOut: r.TokensExpired, reported: r.ExpiryReported, delivered: e.delivered, wish: e.wish, any: true,
	}
	if r.State == session.Attached && e.session.Unconfirmed() {
		w.seq, w.expiresAt = w.held, r.HeldExpiresAt
	}
	return w
}

// renews reports whether w differs from old only by a newer bundle, confirmed by a connected
// client.
func (w *summary) renews(old *summary) bool {
	before := *old
	before.seq, before.held, before.expiresAt = w.seq, w.held, w.expiresAt
	return *w == before && w.state == session.Attached
}

// roleOf returns the role of an identity's RTC token, Subscriber if it has none.
func roleOf(id session.Identity) session.Role {
	if id.RTC == nil {
		return session.Subscriber
	}
	return id.RTC.Role
}

package scheduler

import (
	"time"

	"refresher/internal/logging"
	"refresher/internal/panics"
	"refresher/internal/session"
	"refresher/internal/store"
)

// entry is one session on this node. Its lock is held while the session is changed, while its
// tokens are minted and while a push is written, so that only one operation on a session runs at a
// time. The caller of a method that changes the session holds the lock, and calls commit
// afterwards.
type entry struct {
	lock   // guards all fields except engine, claims and slot
	engine *Scheduler
	// claims contains the session's claims at the time when the entry was made. It never changes, so
	// its epoch, role and terms may be outdated.
	claims session.ResumeClaims

	session *session.Session
	// client is nil while the session is detached, and reason is empty while the session is open.
	client session.Client
	reason session.EndReason
	// wish is the version of the newest operator's change (wish) that was applied.
	wish session.UnixMilli
	// saved and version are the summary and the version of the newest record that was enqueued.
	saved   summary
	version uint64
	// lost is true if this node has discarded the session, because another node has it or its join
	// failed.
	lost bool
	// delivered contains the events that your back end has acknowledged, or whose delivery was
	// given up. sent contains the events that were passed to Config.SendEvent.
	delivered store.Delivered
	sent      store.Delivered
	// counted is the state in which the metrics count the session; Ended if they do not count it.
	counted session.State

	// operation is the trace of the current operation, or nil if there is none.
	operation *operation
	// refusals throttles the log lines about tokens that the client's SDK refused.
	refusals logging.Throttle

	slot slot // guarded by the table's lock
}

func (s *Scheduler) newEntry(of *session.Session) *entry {
	return &entry{engine: s, claims: of.Claims(), session: of, counted: session.Ended}
}

// opened counts the session, which was just added to the table, as a detached one.
func (e *entry) opened() {
	e.emit(event{kind: evOpened})
	e.counted = session.Detached
}

// restore makes an entry from a record.
func (s *Scheduler) restore(r *store.Record, now session.Instant) *entry {
	// For an open session, the bit DeliveredEnd is cleared: a node without webhooks may have set
	// it, but the end must still be reported.
	if r.State != session.Ended {
		r.Delivered &^= store.DeliveredEnd
	}
	e := s.newEntry(session.Restore(r.Record, &s.config.Policy, now))
	e.reason, e.delivered = r.Reason, r.Delivered
	e.version, e.wish = r.Version, r.WishVersion // the entry's next record must get a higher version than the stored record
	return e
}

// hasEndedOnPurpose reports whether the session's resume keys must be refused because the session
// has ended. It returns false for an expired session, since a resume key can open an expired
// session again.
func (e *entry) hasEndedOnPurpose() bool {
	return e.session.State() == session.Ended && !e.lost && e.reason != session.EndExpired
}

// change locks the session, calls f, and calls commit if f returns true. If another goroutine holds
// the lock, change returns at once, and that goroutine calls f and commit when it unlocks the
// session.
func (e *entry) change(f func() bool) {
	e.Do(func() {
		defer e.contain(nil)
		if f() {
			e.commit()
		}
	})
}

// contain recovers from a panic in the handling of one session, so that the process continues. It
// must be deferred while e is locked. Since the session's state may be inconsistent, contain
// removes the session from this node only and closes its connection. The client then resumes, and the
// resume restores the session from the store or from the claims in the resume key. If failed is not nil, contain
// sets *failed to panics.ErrPanicked.
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
	client := e.client
	e.discard()
	e.engine.table.remove(e, false)
	e.engine.table.forget(e)
	if client != nil {
		client.CloseDead()
	}
	if e.counted != session.Ended { // the metrics still count the session
		e.commit()
	}
}

// attach makes client the session's connection and sends `joined` on it.
func (e *entry) attach(o *operation, tokens session.Tokens, client session.Client, now session.Instant) (session.Attachment, error) {
	s := e.engine
	resumed := e.session.Epoch() > 0
	push := e.session.Attach(tokens, now)
	if push.Rejoin {
		e.session.ReportExpiry() // stops the report that the previous tokens expired, since the client has new ones
	}
	epoch := e.session.Epoch()
	e.client = client
	s.tracer.replace(e, o)
	e.emit(pushEvent(evIssued, &push))
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
		e.discard() // no client has the session's key, so no client can resume it
		return nil, err
	case resumed:
		e.emit(pushEvent(evResumed, &push))
	default: // a join's tokens need no ack
		e.emit(event{kind: evJoined})
	}
	return &attachment{entry: e, epoch: epoch}, nil
}

// detach records that the session has lost the connection of this epoch, unless the session has a
// newer connection.
func (e *entry) detach(epoch uint64, now session.Instant) {
	if e.session.Detach(epoch, now) {
		e.client = nil
		e.emit(event{kind: evDetached})
	}
}

// supersede closes the session's connection, because its client has a newer connection to another
// node.
func (e *entry) supersede(now session.Instant) {
	if e.client != nil {
		e.client.End(e.session.Ending(session.EndSuperseded))
		e.detach(e.session.AttachedEpoch(), now)
	}
}

// end ends the session for good and sends its client the reason.
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

// discard ends a session on this node only, because its join failed or another node owns it. It
// sends no events and saves no record.
func (e *entry) discard() {
	e.lost, e.client = true, nil
	e.session.End()
}

// commit passes a change of the session on: to your back end (as events), to the store, to the
// queue and to the metrics. It must be called after every change, since no other function does
// this.
func (e *entry) commit() {
	s := e.engine
	state := e.session.State()
	e.session.SetSigner(s.signers.lookup(e.session.App))
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
		s.table.remove(e, true) // comes before e.save, since the store's answer to the save may remove e from table.ended
	}
	e.save()
	if state != session.Ended && s.table.place(e) {
		s.makeRoom(e)
	}
}

// save enqueues the session's record, unless the last enqueued record has the same summary.
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
		due = now.Mono // the record is due now, so that another node sends the event of the end if this node dies
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

// saveWithin returns how long the record of a confirmed renewal may wait in the write-behind, so
// that more records share one write. It is a twentieth of the tokens' lifetime, at most one second,
// and 0 for lifetimes of less than ten seconds. If the node dies before the record is saved, the
// session's next owner has the previous record. It then mints tokens earlier than necessary, or
// reports a detached client as unreachable too early.
func saveWithin(ttl time.Duration) time.Duration {
	if ttl < 10*time.Second {
		return 0
	}
	return min(ttl/20, time.Second)
}

// summary holds the parts of a record whose change must be saved.
type summary struct {
	epoch, proven, seq, held             uint64
	expiresAt, until                     session.UnixSec
	wish                                 session.UnixMilli
	state                                session.State
	role                                 session.Role
	unreachable, tokensExpired, reported bool
	delivered                            store.Delivered
	// any is true in the summary of every record. So no such summary equals the zero value. If the
	// field `saved` of an entry is the zero value, the session is saved in any case.
	any bool
}

// summarize returns the summary of r, the record of e. While a connected client has not confirmed
// the newest bundle, the summary describes the previous bundle. So a renewal is saved once, when
// the client confirms it, and not also when it is pushed.
func summarize(e *entry, r *session.Record) summary {
	w := summary{
		epoch: r.Epoch, proven: r.Proven, seq: r.Seq, held: r.HeldSeq, expiresAt: r.ExpiresAt, until: r.Terms.Until, role: roleOf(r.Identity),
		state: r.State, unreachable: r.Unreachable, tokensExpired: r.TokensExpired, reported: r.ExpiryReported, delivered: e.delivered, wish: e.wish, any: true,
	}
	if r.State == session.Attached && e.session.Unconfirmed() {
		w.seq, w.expiresAt = w.held, r.HeldExpiresAt
	}
	return w
}

// renews reports whether w differs from old only by a newer bundle that a connected client has
// confirmed.
func (w *summary) renews(old *summary) bool {
	before := *old
	before.seq, before.held, before.expiresAt = w.seq, w.held, w.expiresAt
	return *w == before && w.state == session.Attached
}

// roleOf returns the role of an identity's RTC token, or Subscriber if the identity has no RTC
// token.
func roleOf(id session.Identity) session.Role {
	if id.RTC == nil {
		return session.Subscriber
	}
	return id.RTC.Role
}

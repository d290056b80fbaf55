package session

import (
	"time"
)

// MaxSeq is the highest seq a client may claim: JavaScript counts exactly up
// to 2^53, and this leaves room to go on counting.
const MaxSeq = 1 << 52

// State is where a session is in its life; see the diagram in the package
// documentation.
type State uint8

const (
	Attached State = iota
	Detached
	Ended
)

// Cause is why a bundle was minted.
type Cause string

const (
	CauseJoin     Cause = "join"
	CauseResume   Cause = "resume"
	CauseSchedule Cause = "schedule"
	CauseRenew    Cause = "renew"
	CauseNack     Cause = "nack"
	CauseRole     Cause = "role"
	// CauseCertificate: the tokens are to be signed with another certificate.
	CauseCertificate Cause = "certificate"
)

// EndReason is why a session ended, as the client is told.
type EndReason string

const (
	EndLeft       EndReason = "left"
	EndRevoked    EndReason = "revoked"
	EndDenied     EndReason = "denied"
	EndExpired    EndReason = "expired"
	EndSuperseded EndReason = "superseded"
)

// Terms is what was agreed for one session when it was joined.
type Terms struct {
	// TTL is the lifetime of its tokens, in whole seconds.
	TTL time.Duration
	// Until is the second after which it is not renewed any more, and
	// which no token of it outlives.
	Until UnixSec
	// MayPublish: its role may be changed to Publisher.
	MayPublish bool
	// Format is the form of its tokens.
	Format Format
}

// bundle is what is remembered of one minted bundle.
type bundle struct {
	seq       uint64
	expiresAt UnixSec       // 0 = unknown
	expires   time.Duration // the same moment on the monotonic clock

	certificate Fingerprint // it was signed with; 0 = unknown
}

// known reports whether there is such a bundle and its expiry is known.
func (b bundle) known() bool { return b.expiresAt != 0 }

// pending is the newest bundle while the client has not confirmed it.
type pending struct {
	tokens  Tokens
	cause   Cause
	rejoin  bool          // told to join again, not to renew
	attempt int           // pushes of this seq so far
	last    time.Duration // when it was last sent
	retry   time.Duration // when to act again if nothing comes back
	refused bool          // the SDK refused it: mint another at retry
	sent    bool          // it went out on the connection, not only over HTTP
}

// Session is one call's claim to fresh tokens, and the rules for it. It does
// no I/O and reads no clock. It is not safe for concurrent use.
type Session struct {
	ID       string
	App      string // the App ID its tokens are for
	Subject  string // who joined it, see Caller
	Identity Identity
	Terms    Terms

	policy *Policy
	signer Signer
	state  State

	// epoch numbers the attachments; the newest key carries it. proven is
	// the newest epoch whose key the client has shown to have: older keys
	// are refused, newer ones may be the client's first word about them.
	epoch, proven uint64
	attachedEpoch uint64 // of the newest attachment; under epoch once that is fenced
	attachedSeq   uint64 // the seq that it began with

	held       bundle   // the newest bundle that the client surely has
	issued     bundle   // the newest bundle minted
	issuedAt   UnixSec  // when that was; 0 = unknown
	ackedAt    UnixSec  // when the client last confirmed one; 0 = never, or unknown
	approvedAt UnixSec  // when the customer's back end last agreed; 0 = never
	pending    *pending // set while issued is not confirmed

	minted     bool          // a bundle was issued, here or by the node whose record this was made from
	silent     int           // pushes in a row without an answer
	answered   uint64        // the newest bundle that was acked or nacked here
	nacks      int           // refusals in a row
	nackAfter  time.Duration // no bundle is minted for a nack before this
	askAfter   time.Duration // no bundle is minted for a renew before this
	detachedAt time.Duration // while Detached
	fetched    bool          // the newest bundle went out over HTTP, on another node, and is not confirmed
	missed     bool          // while Detached: that nobody is there to renew for was reported
	ranOut     bool          // while Detached: its tokens ran out
	reported   bool          // the end of the held tokens was reported
	notBefore  time.Duration // a failed renewal is not tried again before this
	renewBy    time.Duration // renew earlier than the expiry asks, 0 = not so
	renewCause Cause         // why, if not because of the schedule
	consent    consent
	approved   time.Duration // the moment of approvedAt on the monotonic clock
}

// New makes a session that has neither tokens nor a connection yet: one about
// to be joined, or, when key's epoch is above zero, one taken up again from
// nothing but its key.
func New(key Key, policy *Policy, now Instant) *Session {
	return &Session{
		ID: key.Session, App: key.App, Subject: key.Subject, Identity: key.Identity, Terms: key.Terms,
		policy: policy, state: Detached, detachedAt: now.Mono,
		epoch: key.Epoch, proven: key.Epoch, approvedAt: key.ApprovedAt,
		approved: now.at(key.ApprovedAt),
	}
}

// Key is what the newest resume key carries.
func (s *Session) Key() Key {
	return Key{
		Session: s.ID, App: s.App, Subject: s.Subject, Identity: s.Identity, Terms: s.Terms, Epoch: s.epoch,
		ApprovedAt: s.approvedAt,
	}
}

// State tells where the session is in its life.
func (s *Session) State() State { return s.state }

// Epoch is the newest that is known of: that of the newest attachment, or one
// that it was fenced to.
func (s *Session) Epoch() uint64 { return s.epoch }

// Attachment is the epoch of the newest attachment made here.
func (s *Session) Attachment() uint64 { return s.attachedEpoch }

// Issued reports whether any bundle of it is known to have been minted, as
// against a session that is made from its key alone.
func (s *Session) Issued() bool { return s.minted }

// RenewBefore is the head start of the session's renewals, in whole seconds.
func (s *Session) RenewBefore() time.Duration { return s.policy.HeadStart(s.Terms.TTL) }

// Unconfirmed reports whether the newest bundle waits for the client's word.
func (s *Session) Unconfirmed() bool { return s.pending != nil }

// HeldExpires is the monotonic moment at which the tokens run out that the
// client surely has; 0 when that is not known.
func (s *Session) HeldExpires() time.Duration { return s.held.expires }

// Ending is the session's end as the client is told of it.
func (s *Session) Ending(reason EndReason) Ending {
	return Ending{Reason: reason, AccessEndsAt: s.issued.expiresAt}
}

// Admit takes the epoch of the key that a client shows. It refuses a key older
// than one that the client has shown to have, with an EndedError; a key whose
// successor may have been lost on its way still counts, or that loss would
// lock the client out.
func (s *Session) Admit(epoch uint64) error {
	if err := s.Refusal(epoch); err != nil {
		return err
	}
	s.proven = epoch
	s.epoch = max(s.epoch, epoch)
	return nil
}

// Refusal is the error of Admit, or nil.
func (s *Session) Refusal(epoch uint64) error {
	if epoch < s.proven {
		return &EndedError{s.Ending(EndSuperseded)}
	}
	return nil
}

// Fence raises the epoch to at least this one: other nodes refuse what is of an older
// one. The attachment and its key stay good.
func (s *Session) Fence(epoch uint64) { s.epoch = max(s.epoch, epoch) }

// Skip leaves one seq out: another node may have used it for a bundle that is on
// its way, on a connection that is still there.
func (s *Session) Skip() { s.issued.seq++ }

// Confirm takes the client's claim, made while it comes back, to have applied
// bundle seq and, when it says so, to hold tokens until expiresAt. It makes up for an ack that was lost on the way, and for a node
// that knows less than the client. seq is at most MaxSeq, see Resume.Check.
func (s *Session) Confirm(seq uint64, expiresAt UnixSec, now Instant) Acked {
	var a Acked
	// Bounded by what the session can have been given, so that a made-up
	// expiry cannot stretch the tokens that follow.
	expiresAt = min(expiresAt, now.Sec().Add(s.Terms.TTL))
	switch {
	case s.pending != nil && seq >= s.issued.seq:
		a = s.settle(now)
	case s.pending != nil:
	case expiresAt > s.issued.expiresAt && (seq > s.issued.seq || !s.issued.known()):
		// A bundle that this node was never told of.
		s.held = bundle{seq: seq, expiresAt: expiresAt, expires: now.at(expiresAt)}
		s.issued = s.held
	case seq >= s.issued.seq:
		s.held = s.issued
	}
	if seq > s.issued.seq { // of another node, which may sign with another certificate
		s.issued.seq = seq
		s.issued.certificate, s.held.certificate = 0, 0
	}
	return a
}

// settle makes the newest bundle the one that the client surely has.
func (s *Session) settle(now Instant) Acked {
	a := Acked{Settled: true, After: now.Mono - s.pending.last}
	if s.held.known() {
		a.Margin = max(0, s.held.expires-now.Mono)
	}
	s.held, s.pending, s.silent, s.nacks, s.reported = s.issued, nil, 0, 0, false
	s.ackedAt = now.Sec()
	return a
}

// AssumeTaken takes a client that asks over HTTP, and does not say what it has,
// to have what it was last given there.
func (s *Session) AssumeTaken(now Instant) Acked {
	switch p := s.pending; {
	case p == nil && s.fetched:
		s.held, s.fetched, s.reported = s.issued, false, false
		return Acked{}
	case p == nil || p.sent || p.refused:
		return Acked{}
	}
	return s.settle(now)
}

// ReportRunOut reports whether the end of the tokens that the client holds is
// news: each bundle runs out once.
func (s *Session) ReportRunOut() bool {
	news := !s.reported
	s.reported = true
	return news
}

// Lifetime is that of the next bundle: never shorter than
// what is out already, never past the session's end, never over MaxLifetime.
// An EndedError says that the session's time is over.
func (s *Session) Lifetime(now Instant) (issuedAt, expiresAt UnixSec, err error) {
	issuedAt = now.Sec()
	expiresAt = max(issuedAt.Add(s.Terms.TTL), s.issued.expiresAt)
	expiresAt = min(expiresAt, s.Terms.Until, issuedAt.Add(MaxLifetime))
	if expiresAt <= issuedAt {
		return 0, 0, &EndedError{s.Ending(EndExpired)}
	}
	return issuedAt, expiresAt, nil
}

// Attach gives the session a new connection: it raises the epoch and records
// the tokens that go out with `joined`. A first join needs no confirmation,
// since the client has nothing else to go on; on a resume it is pushed again
// until confirmed, like any renewal.
func (s *Session) Attach(tokens Tokens, now Instant) Push {
	resumed := s.epoch > 0
	s.epoch++
	s.attachedEpoch = s.epoch
	s.state, s.silent, s.nacks = Attached, 0, 0
	cause := CauseJoin
	if resumed {
		cause = CauseResume
	}
	push := s.Issue(tokens, cause, now)
	s.Sent()
	s.attachedSeq = push.Seq
	if !resumed {
		s.held, s.pending, s.silent = s.issued, nil, 0
	}
	return push
}

// Issue records a bundle just minted with the span that Lifetime gave, and
// returns it as the push to send.
func (s *Session) Issue(tokens Tokens, cause Cause, now Instant) Push {
	s.pending = &pending{
		tokens: tokens, cause: cause, rejoin: s.hasRunOut(now),
	}
	s.issued = bundle{
		seq: s.issued.seq + 1, expiresAt: tokens.ExpiresAt, expires: now.at(tokens.ExpiresAt),
		certificate: tokens.Certificate,
	}
	s.issuedAt = now.Sec()
	s.renewCause, s.consent = "", consent{owed: s.MustAsk()}
	s.minted, s.renewBy, s.notBefore, s.missed, s.ranOut, s.fetched = true, 0, 0, false, false, false
	s.detachedAt = now.Mono // one that takes tokens while detached is still there
	switch cause {
	case CauseNack:
		s.nackAfter = now.Mono + s.policy.AckTimeout
	case CauseRenew, CauseRole:
		s.askAfter = now.Mono + askEvery
	default: // not what a client can have at will
	}
	return s.Repeat(now)
}

// Repeat is the push of the unconfirmed bundle, once more, as the deadline asks. The
// client has an AckTimeout from now on.
func (s *Session) Repeat(now Instant) Push {
	s.pending.retry = now.Mono + s.policy.AckTimeout
	return s.Again(now)
}

// Again is the same push, because the client asked. The time by which it has to answer
// stays.
func (s *Session) Again(now Instant) Push {
	p := s.pending
	p.attempt++
	p.last = now.Mono
	return Push{
		Seq: s.issued.seq, Tokens: p.tokens, PreviousExpiresAt: s.held.expiresAt,
		Rejoin: p.rejoin, Attempt: p.attempt, Cause: p.cause, Now: now.Milli(),
	}
}

// Sent notes that the newest push went out on the connection, where it wants an
// answer.
func (s *Session) Sent() {
	s.silent++
	s.pending.sent = true
}

// Acked is what an ack settled.
type Acked struct {
	// Settled is false for a duplicate or outdated ack, which changes nothing.
	Settled bool
	// After is the time from the last push to the ack.
	After time.Duration
	// Margin is the life that was left in the old tokens, 0 when none was.
	Margin time.Duration
}

// Ack takes the client's word that its SDK accepted bundle seq. It alone moves
// the next due time.
func (s *Session) Ack(seq uint64, now Instant) (Acked, error) {
	if seq > s.issued.seq {
		return Acked{}, Errorf(CodeBadRequest, "ack.seq: %d was not sent yet; the newest is %d", seq, s.issued.seq)
	}
	if s.state == Attached && seq >= s.attachedSeq {
		s.proven = s.attachedEpoch
	}
	s.heard(seq)
	if s.pending == nil || seq < s.issued.seq {
		return Acked{}, nil
	}
	return s.settle(now), nil
}

// heard notes an ack or nack of bundle seq. Only the first for each bundle counts as an
// answer to its push: a client can repeat it, or send renew, without reading anything.
func (s *Session) heard(seq uint64) {
	if seq > s.answered {
		s.answered, s.silent = seq, 0
	}
}

// Nack takes the client's word that its SDK refused bundle seq, and reports
// whether that is news. Another bundle follows at once, but no sooner than an
// AckTimeout after the last one that followed a refusal, whatever was confirmed in
// between: an SDK that refuses everything is not flooded.
func (s *Session) Nack(seq uint64, now Instant) (bool, error) {
	if seq > s.issued.seq {
		return false, Errorf(CodeBadRequest, "nack.seq: %d was not sent yet; the newest is %d", seq, s.issued.seq)
	}
	s.heard(seq)
	if seq < s.issued.seq || s.pending != nil && s.pending.refused {
		return false, nil
	}
	if s.pending == nil { // it was confirmed, or needed no confirmation, until now
		s.pending = &pending{last: now.Mono}
	}
	s.pending.refused, s.pending.cause = true, CauseNack
	s.pending.retry = max(now.Mono, s.nackAfter)
	s.nacks++
	return true, nil
}

// askEvery is how often at most tokens are sent on a connection because the client, or an
// operator, asks: the client has to confirm each, and may send 10 messages a second.
const askEvery = time.Second

// Asked returns what to do for a client that sends renew: Renew to mint a bundle; Repeat
// (by Again) if the newest is not confirmed; Wait if a bundle is due anyway, or was sent
// less than askEvery ago. A renew does not count as an answer to a push.
func (s *Session) Asked(now Instant) Task {
	switch p := s.pending; {
	case p != nil && (p.refused || s.turned(now) || now.Mono-p.last < askEvery):
		return Wait
	case p != nil:
		return Repeat
	case now.Mono < s.askAfter:
		s.renewAt(s.askAfter, CauseRenew)
		return Wait
	}
	return Renew
}

// AskedOverHTTP says what to answer to a client that asks for fresh tokens in a
// request of its own: by Renew, or by Repeat (by Again) when a bundle is already on
// its way.
func (s *Session) AskedOverHTTP(now Instant) Task {
	if p := s.pending; p != nil && !p.refused && now.Mono-p.last < s.policy.AckTimeout && !s.turned(now) {
		return Repeat
	}
	return Renew
}

// Defer puts off a renewal that could not be made now, by d at least.
func (s *Session) Defer(d time.Duration, now Instant) {
	if s.pending != nil {
		s.pending.retry = now.Mono + d
	}
	s.notBefore = now.Mono + d
}

// Detach takes the connection of attachment epoch away. It reports false, and
// changes nothing, when that attachment is not the present one.
func (s *Session) Detach(epoch uint64, now Instant) bool {
	if s.state != Attached || epoch != s.attachedEpoch {
		return false
	}
	s.state, s.detachedAt = Detached, now.Mono
	return true
}

// End ends the session for good.
func (s *Session) End() { s.state = Ended }

// hasRunOut reports whether the tokens that the client surely has are dead, so
// that its SDK has left the call and must join again. When it is not known
// what the client has, its refusal of the newest is taken for that.
func (s *Session) hasRunOut(now Instant) bool {
	if s.held.known() {
		return s.held.expires <= now.Mono
	}
	return s.nacks > 0
}

// turned reports that the client's tokens ran out while the renewal was on its
// way: what was "renew" must become "rejoin".
func (s *Session) turned(now Instant) bool { return !s.pending.rejoin && s.hasRunOut(now) }

// final reports that no later expiry than the newest can be given.
func (s *Session) final() bool { return s.issued.expiresAt >= s.Terms.Until }

// ClockStepped tells the session that the wall clock moved ahead of the
// monotonic one by step: its tokens end that much sooner than was thought. It
// renews that much sooner; sessions that would be due already spread over
// window, each at its own place, so that a step is no stampede. A step back
// needs nothing: tokens then live longer than was thought.
func (s *Session) ClockStepped(step, window time.Duration, now Instant) {
	due, _ := s.scheduled()
	if step <= 0 || s.state != Attached || due == never {
		return
	}
	place := now.Mono + time.Duration(fraction(s.ID)*float64(min(window, s.Terms.TTL/4)))
	s.renewBy = min(due, max(due-step, place))
}

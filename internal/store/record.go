package store

import (
	"hash/fnv"
	"time"

	"refresher/internal/session"
)

// Format is the version of the records that this release writes and reads. A record of
// another one is unreadable, and left alone.
const Format = 1

// Shards is how many parts the sessions are spread over.
const Shards = 64

// ShardOf is the shard of a session, 0 to Shards-1. It is the same on every
// node and in every release.
func ShardOf(id string) int {
	h := fnv.New32a()
	h.Write([]byte(id))
	return int(h.Sum32() % Shards)
}

// Times of the leases, on the store's clock.
const (
	// Lease is for how long a node owns its sessions without a word.
	Lease = 10 * time.Second
	// SweepEvery is how often a node sweeps, and renews its lease.
	SweepEvery = 2 * time.Second
	// Slack is how long a session may be overdue before somebody asks.
	Slack = 2 * time.Second
)

// Later is until when an overdue session is left alone that was claimed, or whose
// owner lives: a lease, less up to a sweep's interval by a second that changes
// from one time to the next, so that it is not always the same node that sees it
// first.
func Later(now session.UnixMilli) session.UnixMilli {
	early := int64(now.Sec()) * laterStep % SweepEvery.Milliseconds()
	return now.Add(Lease - time.Duration(early)*time.Millisecond)
}

// laterStep has nothing in common with the intervals.
const laterStep = 619

// SweepLimit is how many overdue sessions of one shard a sweep looks at.
const SweepLimit = 256

// Record is a session as a store keeps it.
type Record struct {
	session.Record
	// Node is the owner.
	Node string
	// Version numbers the owner's own writes of one attachment, so that one that
	// was held up on its way does not undo a later one.
	Version uint64
	// Due is when the session next needs attention; of one that has ended,
	// when it did.
	Due session.UnixMilli
	// Delivered says which events the customer's back end has acknowledged.
	Delivered Delivered
	// WishVersion is the version of the newest wish that the role in Identity is of,
	// see Register. 0: no operator has wished anything.
	WishVersion session.UnixMilli
	// WishPending: the owner has not acted on that wish yet.
	WishPending bool
}

// clone is a record that shares nothing with r.
func (r *Record) clone() Record {
	c := *r
	if rtc := r.Identity.RTC; rtc != nil {
		rtc := *rtc
		c.Identity.RTC = &rtc
	}
	if rtm := r.Identity.RTM; rtm != nil {
		rtm := *rtm
		c.Identity.RTM = &rtm
	}
	if chat := r.Identity.Chat; chat != nil {
		chat := *chat
		c.Identity.Chat = &chat
	}
	return c
}

// Delivered is a set of events that the customer's back end has acknowledged.
type Delivered uint8

// The events of a session.
const (
	DeliveredJoined      Delivered = 1 << iota
	DeliveredUnreachable           // of its newest bundle
	DeliveredEnd
)

// Has reports whether all of what are in t.
func (t Delivered) Has(what Delivered) bool { return t&what == what }

// HasEnded reports that the session has ended, one way or another.
func (r *Record) HasEnded() bool { return r.State == session.Ended }

// Removable reports that the session expired and its end was delivered: a store
// keeps nothing of it.
func (r *Record) Removable() bool {
	return r.State == session.Ended && r.Delivered.Has(DeliveredEnd) && r.Reason == session.EndExpired
}

// OnlyEnd is what Get shows of a session that has ended.
func (r *Record) OnlyEnd() Record {
	return Record{
		Record: session.Record{
			Key:   session.Key{Session: r.Session, Epoch: r.Epoch},
			State: r.State, Reason: r.Reason, ExpiresAt: r.ExpiresAt,
		},
		Node: r.Node, Version: r.Version, Delivered: r.Delivered,
	}
}

// IsTombstone reports that the session was ended on purpose and its end was
// delivered: a store keeps only the end, so that its keys stay dead.
func (r *Record) IsTombstone() bool {
	return r.State == session.Ended && r.Delivered.Has(DeliveredEnd) && r.Reason != session.EndExpired
}

// tombstoneFor is how long, at least, a store keeps the tombstone of a session that
// its client ended.
const tombstoneFor = time.Hour

// TombstoneUntil is when the tombstone of a session that was ended on purpose expires:
// when its keys are worth nothing any more, or, if the client
// ended it itself, when an hour has passed and no token of it works any more.
// What would come back then is a client that may join as well; and to keep every
// call that was ever hung up for the days that keys are good would outgrow the
// live ones.
func (r *Record) TombstoneUntil() session.UnixSec {
	if r.Reason == session.EndLeft {
		return min(max(r.ExpiresAt, r.Due.Sec().Add(tombstoneFor)), r.Terms.Until)
	}
	return r.Terms.Until
}

// Action is what the writer of a record must do, by the store's answer to Save.
type Action uint8

const (
	// Retry: the store could not be reached, or did not answer.
	Retry Action = iota
	// Done: the store holds the record now, or a newer one of the same owner.
	Done
	// CloseSuperseded: a newer attachment, by the key of this one or a later,
	// has a connection on another node. The one here is outdated, and so is
	// the record.
	CloseSuperseded
	// Release: another node has the session, and no connection that the client
	// of the one here is known to have left it for. A client that is here
	// must come again.
	Release
	// RaiseEpoch: the node itself was given a higher epoch, see Outcome.Epoch,
	// and does not know: the answer to its Acquire was lost. It is to write
	// under that one.
	RaiseEpoch
	// EndSession: the session was ended on purpose, see Outcome.Ending.
	EndSession
	// FinishEnd: an operator ended the session in the store, see Outcome.Ending, and
	// the writer owns it: it ends the session as if the end had been asked of it, and
	// saves that.
	FinishEnd
	// LeaveAlone: the record there cannot be read, see ErrUnreadable.
	LeaveAlone
)

// Outcome is an Action, with what goes with it.
type Outcome struct {
	Action Action
	Ending session.Ending // of EndSession and FinishEnd
	Epoch  uint64         // of RaiseEpoch
	// Wish, of Done, is the register that the store holds, if that is newer than the
	// record's: an operator's wish that the writer must act on. Else it is zero.
	Wish Register
}

// Resolve answers a Save of r where the store holds old of the same session: what the
// writer must do, and whether the store is to replace old by r.KeepWish(old). Every store
// answers by this rule.
//
// The higher epoch wins. Between two nodes with the same epoch, which know of the same
// attachment, the one wins that knows more of it (see rank). A node that loses with the
// lower epoch closes its connection as superseded only if the client presented its resume
// key, or a later one, to the winner: else the client may not know of the winner. A
// session that was ended on purpose stays ended.
func Resolve(old, r *Record) (o Outcome, replace bool) {
	own := r.Node == old.Node && r.Epoch == old.Epoch
	switch {
	case own && r.Version < old.Version: // an earlier write, which arrived late
		return Outcome{Action: Done, Wish: r.newerWish(old)}, false
	case old.endedOnPurpose():
		return old.afterEnd(r, own)
	case r.Epoch > old.Epoch, own, r.Epoch == old.Epoch && r.rank() > old.rank():
		return Outcome{Action: Done, Wish: r.newerWish(old)}, true
	case r.Node == old.Node:
		return Outcome{Action: RaiseEpoch, Epoch: old.Epoch}, false
	case old.State == session.Attached && old.Epoch > r.Epoch && old.Proven >= r.Epoch:
		return Outcome{Action: CloseSuperseded}, false
	default:
		return Outcome{Action: Release}, false
	}
}

// afterEnd is Resolve where old was ended on purpose. Only its owner may go on writing:
// what is left to do of that end.
func (r *Record) afterEnd(next *Record, own bool) (o Outcome, replace bool) {
	switch {
	case own && next.endedOnPurpose():
		return Outcome{Action: Done}, true
	case own && !next.HasEnded() && !r.IsTombstone():
		return Outcome{Action: FinishEnd, Ending: r.Ending()}, false
	}
	return Outcome{Action: EndSession, Ending: r.Ending()}, false
}

func (r *Record) endedOnPurpose() bool {
	return r.State == session.Ended && r.Reason != session.EndExpired
}

// rank orders what two nodes say of the same attachment. That the session was
// ended on purpose beats all; a connection beats none; and one whose key the
// client has shown to have beats one that it may never have heard of.
func (r *Record) rank() int {
	switch {
	case r.endedOnPurpose():
		return 4
	case r.State == session.Attached && r.Proven == r.Epoch:
		return 3
	case r.State == session.Attached:
		return 2
	case r.State == session.Detached:
		return 1
	default:
		return 0
	}
}

// AcquireRequest asks the store to make Node the owner of a session whose resume key
// a client presented.
type AcquireRequest struct {
	Session string
	// Epoch is that of the key.
	Epoch uint64
	Node  string
	// Attach: for a connection, as against a single renewal without one.
	Attach bool
}

// Acquired is the answer to an AcquireRequest. A session that the store knows is the
// node's from then on, attached or not as the request says.
type Acquired struct {
	// Epoch is above all that the store and the key know of: the one that
	// the attachment is to have.
	Epoch uint64
	// Record is what the store held before, if Known.
	Record Record
	Known  bool
}

// Doing is what a node sweeps for, beside the shards' generations.
type Doing uint8

const (
	// Claim renews the node's lease and claims what is overdue.
	Claim Doing = iota
	// Renew renews the lease only: the owners of what is overdue may have
	// been as far from the store as the node itself.
	Renew
	// Leave gives the lease up.
	Leave
)

// Swept is what a sweep found in one shard.
type Swept struct {
	// Err: the shard could not be reached, or not all that is overdue claimed.
	Err error
	// Generation names the shard's life: another one than the time before
	// says that records may have been lost.
	Generation string
	// Overdue sessions are the sweeper's from now on: their owner is gone,
	// or it is the sweeper itself, which seems to have lost sight of them.
	// One whose owner is gone counts as detached from now on, so that an
	// owner who was only away for a while, and has its connection, wins.
	Overdue []Record
}

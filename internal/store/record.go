package store

import (
	"hash/fnv"
	"time"

	"refresher/internal/session"
)

// Format is the version of the records that this release writes. A record with
// a higher one was written by a newer release, and is left alone.
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
	// Rev numbers the owner's own writes of one attachment, so that one that
	// was held up on its way does not undo a later one.
	Rev uint64
	// Due is when the session next needs attention; of one that has ended,
	// when it did.
	Due session.UnixMilli
	// Told is what the customer's back end has been told of.
	Told Told
	// WishVersion is the version of the newest wish of an operator that this record
	// takes into account, or the store knows of: the wall clock at which it was made.
	// Together with the RTC role it is a last-writer-wins register: of two records of
	// a session, the role of the one with the higher WishVersion counts. 0: none.
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

// Told is a set of announcements that were delivered.
type Told uint8

// The announcements of a session.
const (
	ToldJoined      Told = 1 << iota
	ToldUnreachable      // of its newest bundle
	ToldEnd
)

// Has reports whether all of what are in t.
func (t Told) Has(what Told) bool { return t&what == what }

// Over reports that the session has ended, one way or another.
func (r *Record) Over() bool { return r.State == session.Ended }

// Gone reports that nothing is to be kept of the session.
func (r *Record) Gone() bool {
	return r.State == session.Ended && r.Told.Has(ToldEnd) && r.Reason == session.EndExpired
}

// Buried reports that only the session's end is to be kept.
func (r *Record) Buried() bool {
	return r.State == session.Ended && r.Told.Has(ToldEnd) && r.Reason != session.EndExpired
}

// graveFor is how long at least the grave of a session is kept that its client
// ended.
const graveFor = time.Hour

// Forget is when the grave of a session that was ended on purpose may go:
// when its keys are worth nothing any more, or, if the client
// ended it itself, when an hour has passed and no token of it works any more.
// What would come back then is a client that may join as well; and to keep every
// call that was ever hung up for the days that keys are good would outgrow the
// live ones.
func (r *Record) Forget() session.UnixSec {
	if r.Reason == session.EndLeft {
		return min(max(r.ExpiresAt, r.Due.Sec().Add(graveFor)), r.Terms.Until)
	}
	return r.Terms.Until
}

// Verdict is what became of a record that a node wanted saved.
type Verdict uint8

const (
	// Unsaved: the store could not be reached, or said nothing. Try again.
	Unsaved Verdict = iota
	// Saved: it is what the store holds now, or the store holds a newer one
	// of the same owner.
	Saved
	// Superseded: a newer attachment, by the key of this one or a later,
	// has a connection on another node. The one here is outdated, and so is
	// the record.
	Superseded
	// Moved: another node has the session, and no connection that the client
	// of the one here is known to have left it for. A client that is here
	// must come again.
	Moved
	// Behind: the node itself was given a higher epoch, see Outcome.Epoch,
	// and does not know: the answer to its Grip was lost. It is to write
	// under that one.
	Behind
	// Dead: the session was ended on purpose, see Outcome.Ending.
	Dead
	// Foreign: the record there was written by a newer release.
	Foreign
)

// Outcome is a Verdict, with what goes with it.
type Outcome struct {
	Verdict Verdict
	Ending  session.Ending // of Dead
	Epoch   uint64         // of Behind
}

// Judge says whether r may replace the record old of the same session, and if
// not, why not. Every store answers Save by this rule.
//
// The higher epoch wins. But an attachment that is outdated by the epoch alone is
// not told that it is: its client may never have heard of the other one, whose
// key it never showed. Between two nodes with the same epoch, which know of
// the same attachment, the one wins that knows more of it (see rank). A session
// that was ended on purpose stays so.
func Judge(old, r *Record) Verdict {
	switch {
	case old.State == session.Ended && old.Reason != session.EndExpired:
		if r.State == session.Ended && r.Epoch == old.Epoch && r.Node == old.Node && r.Rev >= old.Rev {
			return Saved // the rest of its end
		}
		return Dead
	case r.Epoch > old.Epoch:
		return Saved
	case r.Epoch == old.Epoch && (r.Node == old.Node || r.rank() > old.rank()):
		return Saved
	case r.Node == old.Node:
		return Behind
	case old.State == session.Attached && old.Epoch > r.Epoch && old.Proven >= r.Epoch:
		return Superseded
	default:
		return Moved
	}
}

// rank orders what two nodes say of the same attachment. That the session was
// ended on purpose beats all; a connection beats none; and one whose key the
// client has shown to have beats one that it may never have heard of.
func (r *Record) rank() int {
	switch {
	case r.State == session.Ended && r.Reason != session.EndExpired:
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

// Outdated reports that r is an earlier write than old of the same owner and
// epoch, which arrived late. It counts as saved, and changes nothing.
func Outdated(old, r *Record) bool {
	return r.Node == old.Node && r.Epoch == old.Epoch && r.Rev < old.Rev
}

// Grip is a node's wish to go on with a session that it was shown the key to.
type Grip struct {
	Session string
	// Epoch is that of the key.
	Epoch uint64
	Node  string
	// Attach: for a connection, as against a single renewal without one.
	Attach bool
}

// Held is what a Grip gave. The store counts a session that it knows as the
// node's from then on, and as attached or not as the Grip says.
type Held struct {
	// Epoch is above all that the store and the key know of: the one that
	// the attachment is to have.
	Epoch uint64
	// Record is what the store held before, if Known.
	Record Record
	Known  bool
}

// Doing is what a node sweeps for, beside knowing the shards' generations.
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
	// Err: the shard could not be reached; the rest is empty.
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

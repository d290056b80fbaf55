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
	// Node is the name of the owner. A store may know no more of it than its NodeID.
	Node string
	// Version counts the owner's writes within an epoch, so that a delayed write does
	// not undo a later one.
	Version uint64
	// Due is when the session next needs attention, or when it ended.
	Due session.UnixMilli
	// Delivered says which events the customer's back end has acknowledged.
	Delivered Delivered
	// WishVersion is the version of the newest wish that the role in Identity is of,
	// see Register. 0: no operator has wished anything.
	WishVersion session.UnixMilli
	// WishPending: the owner has not acted on that wish yet.
	WishPending bool
	// TermsChanged, of a record to save: Terms may be others than those that the store
	// has. It is not stored.
	TermsChanged bool
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

// HasEnded reports whether the session has ended, for any reason.
func (r *Record) HasEnded() bool { return r.State == session.Ended }

// endedOnPurpose reports whether the session has ended, and not because it expired.
func (r *Record) endedOnPurpose() bool { return r.HasEnded() && r.Reason != session.EndExpired }

// Removable reports whether the session expired and its end was delivered: a store keeps
// nothing of it.
func (r *Record) Removable() bool {
	return r.HasEnded() && !r.endedOnPurpose() && r.Delivered.Has(DeliveredEnd)
}

// IsTombstone reports whether the session was ended on purpose and its end was delivered:
// a store keeps only the end, so that the session's resume keys stay dead.
func (r *Record) IsTombstone() bool { return r.endedOnPurpose() && r.Delivered.Has(DeliveredEnd) }

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

// tombstoneFor is how long, at least, a store keeps the tombstone of a session that
// its client ended.
const tombstoneFor = time.Hour

// TombstoneUntil is when the tombstone of a session that was ended on purpose expires:
// with the session's resume keys. If the client itself left, it expires an hour after
// that, or with the last token: a client that comes back then may as well join, and
// tombstones of every call that was hung up in the last days would outgrow the live calls.
func (r *Record) TombstoneUntil() session.UnixSec {
	if r.Reason == session.EndLeft {
		return min(max(r.ExpiresAt, r.Due.Sec().Add(tombstoneFor)), r.Terms.Until)
	}
	return r.Terms.Until
}

// AcquireRequest asks the store to make Node the owner of a session whose resume key
// a client presented.
type AcquireRequest struct {
	Session string
	// Epoch is that of the key.
	Epoch uint64
	Node  string
	// Attach is true for a connection, and false for a single renewal without one.
	Attach bool
}

// Acquired is the answer to an AcquireRequest. A session that the store knows is the
// node's from then on, attached or not as the request says.
type Acquired struct {
	// Epoch is the one for the new attachment: higher than those of the store and of
	// the key.
	Epoch uint64
	// Record is what the store held before, if Known. Its Due may be missing.
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

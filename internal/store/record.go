package store

import (
	"hash/fnv"
	"time"

	"refresher/internal/session"
)

// Format is the version of the records that this release writes and reads. The release does
// not change records of other versions.
const Format = 1

// Shards is the number of shards of a store.
const Shards = 64

// ShardOf returns the shard of a session, 0 to Shards-1. It is the same on every node and
// in every release.
func ShardOf(id string) int {
	h := fnv.New32a()
	h.Write([]byte(id))
	return int(h.Sum32() % Shards)
}

// ShardSet is a set of shards.
type ShardSet [Shards]bool

// AllShards returns the set of all shards.
func AllShards() *ShardSet {
	var all ShardSet
	for i := range all {
		all[i] = true
	}
	return &all
}

// Times of the leases, on the store's clock.
const (
	// Lease is the duration of a node's lease.
	Lease = 10 * time.Second
	// SweepEvery is how often a node sweeps, which renews its lease.
	SweepEvery = 2 * time.Second
	// Slack is how long a session may be overdue before a sweep claims it.
	Slack = 2 * time.Second
)

// Later returns the new due time of an overdue session that a sweep has claimed, or has left to its
// live owner. The time is one Lease from now, minus a part of SweepEvery. That part changes every
// second. Otherwise the same node would always be the first to find the session overdue, and no
// sweep by another node would ever return the session, not even a sweep by the session's live
// owner.
func Later(now session.UnixMilli) session.UnixMilli {
	early := int64(now.Sec()) * laterStep % SweepEvery.Milliseconds()
	return now.Add(Lease - time.Duration(early)*time.Millisecond)
}

// laterStep is in milliseconds. Later subtracts laterStep times the Unix time in seconds,
// modulo SweepEvery. laterStep and SweepEvery are coprime, so that the subtracted part takes
// every value before it repeats.
const laterStep = 619

// SweepLimit is the maximum number of overdue sessions of one shard that a sweep examines.
const SweepLimit = 256

// Record is a session as a store keeps it.
type Record struct {
	session.Record
	// Node is the name of the owner. A store may return only the NodeID of the name.
	Node string
	// Version counts the owner's writes within an epoch, so that a delayed write does not
	// replace a later one.
	Version uint64
	// Due is when the owner must next act on the session, for example to renew its tokens, or
	// when the session ended.
	Due session.UnixMilli
	// Delivered is the set of events that your back end has acknowledged.
	Delivered Delivered
	// WishVersion is the version of the newest wish (see Wish) for a role or for fresh tokens;
	// 0 if there was no such wish.
	WishVersion session.UnixMilli
	// WishPending is true if the owner has not yet applied the newest wish, an operator's
	// change of the session.
	WishPending bool
	// TermsChanged is true if Terms may differ from the stored ones. It is an argument of
	// Save and is not stored.
	TermsChanged bool
}

// OwnedBy reports whether the record names the node as the owner.
func (r *Record) OwnedBy(node string) bool { return NodeID(r.Node) == NodeID(node) }

// clone returns a copy that shares no memory with r.
func (r *Record) clone() Record {
	c := *r
	c.Identity = cloneIdentity(&r.Identity)
	return c
}

func cloneIdentity(id *session.Identity) session.Identity {
	return session.Identity{RTC: clonePointer(id.RTC), RTM: clonePointer(id.RTM), Chat: clonePointer(id.Chat)}
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func sameIdentity(a, b *session.Identity) bool {
	return samePointee(a.RTC, b.RTC) && samePointee(a.RTM, b.RTM) && samePointee(a.Chat, b.Chat)
}

// samePointee reports whether the two pointers are nil or point to equal values.
func samePointee[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// Delivered is a set of events that your back end has acknowledged.
type Delivered uint8

// The events of a session.
const (
	DeliveredJoined      Delivered = 1 << iota
	DeliveredUnreachable           // set only if the acknowledged event was about the newest bundle of tokens
	DeliveredEnd
)

// Has reports whether t contains all events of `what`.
func (t Delivered) Has(what Delivered) bool { return t&what == what }

// HasEnded reports whether the session has ended, for any reason.
func (r *Record) HasEnded() bool { return r.State == session.Ended }

// endedOnPurpose reports whether the session has ended for another reason than expiry.
func (r *Record) endedOnPurpose() bool { return r.HasEnded() && r.Reason != session.EndExpired }

// Removable reports whether the session has expired and your back end has acknowledged its end: a
// store removes such a record.
func (r *Record) Removable() bool {
	return r.HasEnded() && !r.endedOnPurpose() && r.Delivered.Has(DeliveredEnd)
}

// IsTombstone reports whether the session was ended on purpose and your back end has acknowledged
// its end: a store keeps only the end of such a record, to refuse the session's resume keys.
func (r *Record) IsTombstone() bool { return r.endedOnPurpose() && r.Delivered.Has(DeliveredEnd) }

// OnlyEnd returns the part of the record that Get returns once the session has ended.
func (r *Record) OnlyEnd() Record {
	return Record{
		Record: session.Record{
			ResumeClaims: session.ResumeClaims{Session: r.Session, Epoch: r.Epoch},
			State:        r.State, Reason: r.Reason, ExpiresAt: r.ExpiresAt,
		},
		Node: r.Node, Version: r.Version, Delivered: r.Delivered,
	}
}

// tombstoneFor is the minimum time for which a store keeps the tombstone of a session that
// its client ended.
const tombstoneFor = time.Hour

// TombstoneUntil returns when the tombstone of a session that was ended on purpose expires:
// together with the session's resume keys. If the client itself left, the tombstone expires
// earlier: tombstoneFor after the end, or with the last token if that is later. A client that
// resumes after that does no harm, and the tombstones of all calls that ended in the last
// days would take more memory than the live calls.
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
	// Epoch is the epoch in the resume key.
	Epoch uint64
	Node  string
	// Attach is true for a connection, and false for a single renewal without one.
	Attach bool
}

// Acquired is the answer to an AcquireRequest. If the store knows the session, the node
// owns it from then on, attached or detached as the request says.
type Acquired struct {
	// Epoch is the epoch of the new attachment. It is higher than the stored epoch and the
	// epoch in the key.
	Epoch uint64
	// Record is the record before the acquire; it is set if Known is true. A store may leave
	// out the record's Due.
	Record Record
	Known  bool
}

// Doing selects what a sweep does, in addition to reading the shards' generations.
type Doing uint8

const (
	// Claim renews the node's lease and claims overdue sessions.
	Claim Doing = iota
	// Renew renews the lease and claims nothing. A node uses Renew after it could not reach
	// the store: the owners of overdue sessions may have been cut off too, and need time to
	// renew their leases.
	Renew
	// Leave ends the lease.
	Leave
)

// Swept is what a sweep found in one shard.
type Swept struct {
	// Err says that the shard could not be reached, or that the claim of its overdue
	// sessions failed.
	Err error
	// Generation identifies the shard's data. If it changes, records may have been lost.
	Generation string
	// Overdue holds the overdue sessions that the sweeping node owns now. Either the lease of
	// the previous owner had expired, or the node itself is the owner and has missed the due
	// time. A session taken from another owner becomes detached. So if that owner was only
	// cut off for a while and still has the connection, its record wins.
	Overdue []Record
}

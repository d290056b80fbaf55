package store

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"refresher/internal/session"
)

// Selector selects the sessions of one project that match all of its non-empty fields.
type Selector struct {
	App     string `json:"app"`               // the project
	Channel string `json:"channel,omitempty"` // of RTC
	User    string `json:"user,omitempty"`    // an RTC uid in decimal, or an account
	Subject string `json:"subject,omitempty"` // the subject of the credential
}

// Matches reports whether s selects a session. If s has a Channel, User is compared only with
// the RTC user; otherwise it is compared with the users of all services.
func (s *Selector) Matches(k *session.ResumeClaims) bool {
	if s.App != k.App || s.Subject != "" && s.Subject != k.Subject {
		return false
	}
	if rtc := k.Identity.RTC; s.Channel != "" && (rtc == nil || rtc.Channel != s.Channel) {
		return false
	}
	if s.User == "" {
		return true
	}
	users := UsersOf(&k.Identity, s.Channel != "")
	return slices.Contains(users[:], s.User)
}

// UsersOf returns the names with which Selector.User is compared: the RTC, RTM and Chat user
// of a session, with "" for a service that the session does not have. The RTC user with uid
// 0, Agora's wildcard, is "0". If inChannel is true, only the RTC user is returned.
func UsersOf(id *session.Identity, inChannel bool) (users [3]string) {
	if id.RTC != nil {
		users[0] = cmp.Or(id.RTC.User(), "0")
	}
	if inChannel {
		return users
	}
	if id.RTM != nil {
		users[1] = id.RTM.UserID
	}
	if id.Chat != nil {
		users[2] = id.Chat.UserID
	}
	return users
}

// MaxName is the maximum length of a name in a Selector, in bytes. Agora's names and subjects
// have at most 255 bytes.
const MaxName = 255

// Everybody reports whether s selects all sessions of the project.
func (s *Selector) Everybody() bool { return *s == Selector{App: s.App} }

// Revocation ends the sessions that it selects, and refuses their users new tokens until the
// time Until, or until it is lifted.
type Revocation struct {
	Selector

	ID    string            `json:"id"`
	Since session.UnixMilli `json:"since"`
	Until session.UnixSec   `json:"until"`
	// Lifted means that an operator has lifted the revocation, so that it has no effect any more.
	// The store keeps the lifted revocation until the time Until, like a tombstone, so that a node
	// that has not heard of the change cannot restore the revocation.
	Lifted bool `json:"lifted,omitempty"`
	// Version decides between two copies of a revocation: the copy with the higher version wins.
	// The version is 1 at first, and lifting the revocation adds 1.
	Version int64 `json:"version"`
}

// Standing reports whether the revocation has effect at the time now.
func (r *Revocation) Standing(now session.UnixSec) bool { return !r.Lifted && now < r.Until }

// MaxRevocations is the maximum number of revocations in a store, including lifted ones whose
// time Until has not passed.
const MaxRevocations = 100_000

// ErrRevocationsFull reports that a store already has MaxRevocations revocations.
var ErrRevocationsFull = errors.New("the maximum number of revocations is in Redis")

// ErrNoRevocation reports that a project has no such revocation.
var ErrNoRevocation = errors.New("there is no such revocation")

// ErrUnsaved reports that a revocation was added, or lifted, on one node only, since the store
// could not be reached. The node stores the change when the store is reachable again, unless the
// node stops while the store is still down.
var ErrUnsaved = errors.New("the change is not in Redis yet")

// Progress is how far all nodes together have applied a revocation.
type Progress struct {
	Ended int // number of sessions that the nodes have ended
	// AccessEndsAt is the last second at which a token of the ended sessions still works.
	AccessEndsAt session.UnixSec
	// Complete is true if every live node has applied the revocation.
	Complete bool
	// WaitingFor lists the live nodes that have not applied the revocation.
	WaitingFor []string
}

// RevocationsVersion identifies a state of a store's revocations: if two versions are equal,
// the revocations are the same. The zero value is the version of no state.
type RevocationsVersion struct {
	// Name is random. So a store that has lost changes does not reuse a version for another
	// state.
	Name string
	// Seq rises with each change.
	Seq int64
}

// RevocationsChange describes a change from one version of the store to the next.
type RevocationsChange struct {
	From, To RevocationsVersion
	Changed  []Revocation
}

// Ended counts the sessions that a node has ended for a revocation.
type Ended struct {
	Sessions int
	// AccessEndsAt is the last second at which a token of the ended sessions still works.
	AccessEndsAt session.UnixSec
}

// RevocationProgress is the stored progress of a revocation.
type RevocationProgress struct {
	// Seq is the RevocationsVersion.Seq of the last change of the revocation, which added it or
	// lifted it; 0 if the store does not have the revocation.
	Seq int64
	// Ended counts the sessions that each node has ended, by node name.
	Ended map[string]Ended
}

// Revocations is the copy of the revocations that all nodes share. The store's own clock
// decides which revocations have ended. The methods are safe for concurrent use.
type Revocations interface {
	// PutRevocations merges revocations into the store and notifies all nodes of the changes.
	// A revocation that has ended, or whose version is not higher than the stored version,
	// changes nothing. After an error some revocations may have been merged.
	// ErrRevocationsFull means that some new ones were refused.
	PutRevocations(ctx context.Context, revocations ...Revocation) error
	// Revocations returns the store's version and, unless that version equals `known`, all
	// revocations that have not ended, in any order. Revocations that change while the store is
	// read are not part of the version. They are in the result `later`, and not in `all`.
	// Revocations does not write.
	Revocations(ctx context.Context, known RevocationsVersion) (all, later []Revocation, version RevocationsVersion, err error)
	// WatchRevocations calls the function `changed` with each change, until ctx is done or
	// the connection breaks. Once it has subscribed, it calls the function with an empty
	// change, since earlier changes were missed. The function must not block or call the
	// store.
	WatchRevocations(ctx context.Context, changed func(RevocationsChange)) error
	// PutEnded replaces a node's count of the sessions that it has ended for a revocation.
	// The store keeps the count until the revocation ends.
	PutEnded(ctx context.Context, r Revocation, node string, e Ended) error
	// RevocationProgress returns the stored progress of a revocation.
	RevocationProgress(ctx context.Context, id string) (RevocationProgress, error)
}

package store

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"refresher/internal/session"
)

// Selector selects the sessions of a project that match all of its fields that are not
// empty.
type Selector struct {
	App     string `json:"app"`               // the project
	Channel string `json:"channel,omitempty"` // of RTC
	User    string `json:"user,omitempty"`    // an RTC uid in decimal, or an account
	Subject string `json:"subject,omitempty"` // of the credential
}

// Matches reports whether s selects a session. With a channel, User is the RTC user in
// it; without one, a user of any service.
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

// UsersOf returns the names of a session's user that Selector.User is compared with:
// those of RTC, RTM and Chat, "" where the session has none. The RTC user with uid 0,
// which Agora takes for any user, is "0". If inChannel, only the RTC user counts.
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

// MaxName is the longest that a name in a Selector may be, in bytes. Agora's names and
// subjects have at most 255.
const MaxName = 255

// Everybody reports whether s selects all sessions of the project.
func (s *Selector) Everybody() bool { return *s == Selector{App: s.App} }

// Revocation ends the sessions that it selects, and keeps their users from new tokens until
// it is over or lifted.
type Revocation struct {
	Selector

	ID    string            `json:"id"`
	Since session.UnixMilli `json:"since"`
	Until session.UnixSec   `json:"until"`
	// Lifted says that the revocation has no effect any more. It is kept until Until, so
	// that a node that missed the lift cannot bring it back.
	Lifted bool `json:"lifted,omitempty"`
	// Version decides between two copies of a revocation: the higher one wins. It begins
	// at 1, and a lift adds 1.
	Version int64 `json:"version"`
}

// Standing reports whether the revocation has effect at now.
func (r *Revocation) Standing(now session.UnixSec) bool { return !r.Lifted && now < r.Until }

// MaxRevocations is how many revocations a store holds, including those that were lifted
// and are not over yet.
const MaxRevocations = 100_000

// ErrRevocationsFull reports that a store holds MaxRevocations.
var ErrRevocationsFull = errors.New("the store holds as many revocations as it may")

// ErrNoRevocation reports that a project has no such revocation.
var ErrNoRevocation = errors.New("there is no such revocation")

// ErrUnsaved reports that a revocation, or its lift, has effect on one node only, since
// the store could not be reached. The node stores it later, unless it stops before.
var ErrUnsaved = errors.New("the store cannot be reached")

// Progress is what all nodes together have done about a revocation.
type Progress struct {
	Ended int // sessions
	// AccessEndsAt is the last second at which a token of those sessions works.
	AccessEndsAt session.UnixSec
	// Complete says that every live node has acted.
	Complete bool
	// WaitingFor lists the names of the live nodes that have not acted.
	WaitingFor []string
}

// RevocationsVersion names a state of a store's revocations: two that are equal have the
// same revocations. The zero value stands for no state.
type RevocationsVersion struct {
	// Name is random, so that a store that lost changes, the last ones or all, does not
	// give a name that it had before to another state.
	Name string
	// Seq rises with each change.
	Seq int64
}

// RevocationsChange leads from one state of the store to the next.
type RevocationsChange struct {
	From, To RevocationsVersion
	Changed  []Revocation
}

// Ended counts the sessions that a node has ended for a revocation.
type Ended struct {
	Sessions int
	// AccessEndsAt is the last second at which a token of those sessions works.
	AccessEndsAt session.UnixSec
}

// RevocationProgress is what the nodes have written about a revocation.
type RevocationProgress struct {
	// Seq is the RevocationsVersion.Seq of the change that stored the revocation, or its
	// lift. 0 says that the store does not have it.
	Seq int64
	// Ended has what each node has ended, by node name.
	Ended map[string]Ended
}

// Revocations is the copy of the revocations that all nodes share. Its own clock decides
// which are over. Its methods are safe for concurrent use.
type Revocations interface {
	// PutRevocations merges revocations into the store and notifies all nodes of what
	// changed. Those that are over, and those of a version that is not higher than the
	// store's, change nothing. After an error some may have been merged; ErrRevocationsFull
	// says that some that the store did not have were refused.
	PutRevocations(ctx context.Context, revocations ...Revocation) error
	// Revocations returns all revocations that are not over, in any order, unless the
	// store's version is known. It only reads.
	Revocations(ctx context.Context, known RevocationsVersion) ([]Revocation, RevocationsVersion, error)
	// WatchRevocations calls changed with each change, until ctx is done or the
	// connection breaks. When it begins to listen, it calls changed with an empty change,
	// since earlier ones were missed. changed must not block or call the store.
	WatchRevocations(ctx context.Context, changed func(RevocationsChange)) error
	// PutEnded writes what a node has ended for a revocation, in place of what it wrote
	// before. It is kept until the revocation is over.
	PutEnded(ctx context.Context, r Revocation, node string, e Ended) error
	// RevocationProgress reads what was written about a revocation.
	RevocationProgress(ctx context.Context, id string) (RevocationProgress, error)
}

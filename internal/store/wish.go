package store

import (
	"errors"

	"refresher/internal/session"
)

// WishKind says what a Wish requests: fresh tokens, another role, or the session's end.
type WishKind uint8

const (
	// WishRenew requests fresh tokens now.
	WishRenew WishKind = iota
	// WishRole requests another RTC role, and therefore fresh tokens now.
	WishRole
	// WishEnd requests the session's end.
	WishEnd
)

// String returns the kind's name in logs and metrics.
func (k WishKind) String() string {
	switch k {
	case WishRole:
		return "role"
	case WishEnd:
		return "end"
	default:
		return "renew"
	}
}

// Wish is an operator's change of one session. A store writes the wish into the session's
// record and notifies the owner. The owner then saves its record again, and finds the wish in
// the Outcome.
type Wish struct {
	Session string
	Kind    WishKind
	Role    session.Role // the requested role, for WishRole
	// At is the time on the caller's wall clock. The wish's version is At, or one more than
	// the version of the session's last wish if that is higher.
	At session.UnixMilli
}

// ErrNoSession says that the store has no open session with this id whose record could be
// changed.
var ErrNoSession = errors.New("there is no such open session")

// Register is the last-writer-wins register of a session: the RTC role, and the version of
// the newest wish for a role or for fresh tokens. If two records of a session have different
// roles, the role of the record with the higher version counts.
type Register struct {
	Version session.UnixMilli
	Role    session.Role
}

// Register returns r's register.
func (r *Record) Register() Register {
	g := Register{Version: r.WishVersion}
	if rtc := r.Identity.RTC; rtc != nil {
		g.Role = rtc.Role
	}
	return g
}

// newerWish returns the register of the record `old` (its RTC role, and the version of its newest
// wish) if that register is newer than r's register, otherwise the zero Register. A session that
// was ended on purpose has no register.
func (r *Record) newerWish(old *Record) Register {
	if old.endedOnPurpose() || old.WishVersion <= r.WishVersion {
		return Register{}
	}
	return old.Register()
}

// KeepWish returns the record that a store must write when r replaces the record `old`: r itself,
// or r with the wish (an operator's change) of `old` if that wish is newer. The wish of `old` stays
// pending if it was pending; a wish of r is not pending.
func (r *Record) KeepWish(old *Record) Record {
	next := *r
	if next.Identity = old.Identity; !sameIdentity(&r.Identity, &old.Identity) {
		next.Identity = cloneIdentity(&r.Identity)
	}
	next.WishPending, next.TermsChanged = false, false
	if g := r.newerWish(old); g.Version > 0 {
		next.WishVersion, next.WishPending = g.Version, old.WishPending
		next.setRole(g.Role)
	}
	return next
}

// unstoredWish returns the wish (an operator's change) that a store must write into the record
// `old` although r does not replace `old`: the node that saves r applied this wish while the store
// was down. It returns false if r has no such wish, or `old` has a later one.
func (r *Record) unstoredWish(old *Record) (Wish, bool) {
	w := Wish{Session: r.Session, Kind: WishRole, Role: r.Register().Role, At: r.WishVersion}
	if r.HasEnded() && r.Reason == session.EndRevoked {
		w.Kind = WishEnd
	}
	return w, !old.HasEnded() && r.WishVersion > old.WishVersion
}

// Write writes the wish into the record of an open session.
func (w *Wish) Write(r *Record) {
	switch w.Kind {
	case WishEnd:
		r.State, r.Reason, r.Due = session.Ended, session.EndRevoked, w.At
		return
	case WishRole:
		r.setRole(w.Role)
	case WishRenew:
	}
	r.WishVersion, r.WishPending = max(r.WishVersion+1, w.At), true
}

// setRole sets the RTC role of the record, if it has one. It changes a copy of the identity,
// since other records share the identity.
func (r *Record) setRole(role session.Role) {
	if rtc := r.Identity.RTC; rtc != nil {
		set := *rtc
		set.Role = role
		r.Identity.RTC = &set
	}
}

// WishResult says what has become of a wish, an operator's change of a session.
type WishResult struct {
	// Version is the wish's version. A wish to end the session has none, since no later wish can
	// replace an end.
	Version session.UnixMilli
	// Record is the session's current record, as far as the answering node knows. If the record's
	// WishVersion is above Version, a later wish has replaced this one.
	Record Record
	// Stored is true if the wish is in the store. If Stored is false, the session's owner has
	// applied the wish, and stores the wish when the store is reachable again.
	Stored bool
	// Applied is true if the session's owner has applied the wish.
	Applied bool
}

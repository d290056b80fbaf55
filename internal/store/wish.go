package store

import (
	"errors"

	"refresher/internal/session"
)

// WishKind is what an operator can want of one session.
type WishKind uint8

const (
	// WishRenew asks for fresh tokens now.
	WishRenew WishKind = iota
	// WishRole asks for another RTC role, and so for fresh tokens now.
	WishRole
	// WishEnd asks for the session's end.
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

// Wish is what an operator wants of one session. A store writes it into the session's
// record and notifies the owner, which saves the record again and learns of the wish by
// the outcome.
type Wish struct {
	Session string
	Kind    WishKind
	Role    session.Role // of WishRole
	// At is the caller's wall clock. The wish's version is At, or one more than
	// that of the session's last wish if that is higher.
	At session.UnixMilli
}

// ErrNoSession says that the store has no record of an open session to write a wish
// into.
var ErrNoSession = errors.New("the store has no such open session")

// Register is a last-writer-wins register of a session: the RTC role, and the version of
// the wish that was the last to ask for it or for fresh tokens. Of two records of a
// session, the role with the higher version counts.
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

// newerWish returns old's register if it is newer than r's, else the zero Register. A
// session that was ended on purpose has no register.
func (r *Record) newerWish(old *Record) Register {
	if old.endedOnPurpose() || old.WishVersion <= r.WishVersion {
		return Register{}
	}
	return old.Register()
}

// KeepWish returns r as a store that holds old must write it. If old has a newer wish
// than r, that wish stays, and stays pending if it was. Any other wish is no longer
// pending.
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

// unstoredWish returns the wish of r that a store must write into old even though it does
// not replace old by r: the node of r carried it out while the store was away. It returns
// false if there is no such wish, or old has a later one.
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

// setRole replaces the role of the record's RTC identity, if it has one, by a copy: other
// records share the identity.
func (r *Record) setRole(role session.Role) {
	if rtc := r.Identity.RTC; rtc != nil {
		set := *rtc
		set.Role = role
		r.Identity.RTC = &set
	}
}

// WishResult is the result of a wish.
type WishResult struct {
	// Version is that of the wish. An end needs none: no later wish overtakes it.
	Version session.UnixMilli
	// Record is the session as it is now, as far as the node that answers knows. A
	// WishVersion above Version says that a later wish has overtaken this one.
	Record Record
	// Stored says that the wish is in the store. If it is not, the session's own node has
	// carried it out, and writes it when the store is back.
	Stored bool
	// Applied says that the session's owner has acted on the wish.
	Applied bool
}

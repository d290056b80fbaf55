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

// Wish is what an operator wants of one session. A store writes it into the
// session's record and notifies the owner, see Record.WishVersion.
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

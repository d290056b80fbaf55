package store

import (
	"context"
	"errors"

	"refresher/internal/session"
)

// OrderKind is what an order asks for.
type OrderKind string

const (
	// OrderRevoke ends the sessions that match, and refuses their return.
	OrderRevoke OrderKind = "revoke"
	// OrderRole gives one session another role.
	OrderRole OrderKind = "role"
	// OrderRenew has one session renewed now.
	OrderRenew OrderKind = "renew"
	// OrderRotate has all sessions renewed that hold tokens from before it.
	OrderRotate OrderKind = "rotate"
)

// Order is something that is to be done to sessions wherever they are, and that
// stands for a while: every node knows the orders that stand, without asking.
type Order struct {
	ID   string    `json:"id"`
	App  string    `json:"app"` // the project whose sessions it is about
	Kind OrderKind `json:"kind"`

	// What it is about: sessions that fit in all that is not empty. User is
	// an RTC uid in decimal or a user account, which Agora's tokens do not
	// tell apart, or an RTM or Chat user.
	Session string `json:"session,omitempty"`
	Channel string `json:"channel,omitempty"`
	User    string `json:"user,omitempty"`
	Subject string `json:"subject,omitempty"`

	Role session.Role `json:"role,omitempty"` // of OrderRole
	// OverMs is the span of OrderRotate, Certificate the fingerprint of the
	// certificate that it is about.
	OverMs      int64  `json:"overMs,omitempty"`
	Certificate string `json:"certificate,omitempty"`

	// At is when it was given, Until how long it stands: it is forgotten then.
	At    session.UnixMilli `json:"at"`
	Until session.UnixSec   `json:"until"`
	// Lifted: it does not count any more. It is kept until its time is over,
	// so that a node which knows it from before does not bring it back.
	Lifted bool `json:"lifted,omitempty"`
	// By is the node that it was given at, and Format that of Record.
	By     string `json:"by"`
	Format int    `json:"format"`
}

// Report is what one node has done about an order.
type Report struct {
	Node string `json:"node"`
	// Sessions are those that it was about here, Done those that it is done
	// for, Failed those that it cannot be done for.
	Sessions int `json:"sessions"`
	Done     int `json:"done"`
	Failed   int `json:"failed,omitempty"`
	// AccessEndsAt is the last second at which a token of theirs works.
	AccessEndsAt session.UnixSec `json:"accessEndsAt,omitempty"`
	// Note is what an operator should know, such as that the node has another
	// certificate.
	Note string `json:"note,omitempty"`
}

// MaxName is how long a name in an order may be, in bytes: Agora's longest are of
// 255, and so are subjects.
const MaxName = 255

// MaxOrders is how many orders a board holds, those that were lifted included.
const MaxOrders = 100_000

// ErrBoardFull says that a board holds MaxOrders.
var ErrBoardFull = errors.New("the board is full of orders; wait until the time of some is over")

// Board is where the orders stand that all nodes follow. It goes by its own clock.
// Its methods are safe for concurrent use.
type Board interface {
	// Give puts orders there, or lifts them, and has all nodes told. One that
	// is there already is replaced only by its lifting, and one whose time is
	// over is left out. It is done for all or, with an error, perhaps for
	// some; to do it again is harmless. ErrBoardFull refuses some of them.
	Give(ctx context.Context, orders ...Order) error
	// Orders are those that stand, and those that were lifted, until their
	// time is over, in any order; and the board's version. That is another
	// after each change, and after the board was lost, and never empty. If it
	// is known, the one that the caller has, there are no orders in the
	// answer: nothing has changed. Orders of a newer release are left out.
	Orders(ctx context.Context, known string) (orders []Order, version string, err error)
	// Report puts down what a node has done about an order, in place of what
	// it said before. It is kept as long as the order; on one that is not
	// there it comes to nothing.
	Report(ctx context.Context, order string, r Report) error
	// Reports are those on one order, and the nodes that are alive: those
	// whose lease holds. Both by name.
	Reports(ctx context.Context, order string) (reports []Report, alive []string, err error)
	// Follow calls changed whenever the board has changed, or may have, until
	// ctx is done or the connection breaks; at once, too, when it begins to
	// listen. changed must not block or call the board. That a board lost its
	// data may go unnoticed: ask for its version, too.
	Follow(ctx context.Context, changed func()) error
}

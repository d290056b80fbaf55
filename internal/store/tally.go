package store

import (
	"errors"

	"refresher/internal/session"
)

// Tally is what all nodes together have done about an order.
type Tally struct {
	Sessions, Done, Failed int
	// AccessEndsAt is the last second at which a token of those sessions
	// works.
	AccessEndsAt session.UnixSec
	Nodes        []Report
	// Silent are the nodes that are alive and have not said anything yet.
	Silent []string
}

// ErrNotDurable says that an order counts on this node, and that the board was
// not told: it will be when it can be reached, unless the node stops before.
var ErrNotDurable = errors.New("the order is not durable: the store cannot be reached")

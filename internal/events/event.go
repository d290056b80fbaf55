package events

import (
	"encoding/json"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Type is what happened, as the receiver reads it.
type Type string

const (
	// Joined: the session was opened.
	Joined Type = "session.joined"
	// Unreachable: its tokens are about to run out and nobody is connected;
	// the customer's app can wake the phone.
	Unreachable Type = "session.unreachable"
	// Ended: the session is over, for Reason.
	Ended Type = "session.ended"
	// Expired: its tokens ran out before they were renewed.
	Expired Type = "session.expired"
)

// types are all of them.
var types = []Type{Joined, Unreachable, Ended, Expired}

// Event is one thing that happened to a session. Fields that are zero are left
// out of what the receiver reads, but for ID, Type, At and Session.
type Event struct {
	// ID is the same for every delivery of the same event, from any node:
	// "<session>-joined", "<session>-unreachable-<seq>", "<session>-ended",
	// "<session>-expired-<seq>". Printable ASCII without a dot, as the id of a
	// signed request has to be.
	ID       string
	Type     Type
	At       time.Time // when it happened; sent in Unix milliseconds
	Session  string
	Identity session.Identity
	Seq      uint64 // of the newest tokens
	// ExpiresAt is when the newest tokens run out.
	ExpiresAt session.UnixSec
	Reason    session.EndReason // of Ended
	Node      string
}

// body is an Event on the wire.
type body struct {
	ID      string            `json:"id"`
	Type    Type              `json:"type"`
	At      session.UnixMilli `json:"at"`
	Session string            `json:"session"`
	Node    string            `json:"node,omitempty"`
	protocol.Identity
	Seq       uint64            `json:"seq,omitempty"`
	ExpiresAt session.UnixSec   `json:"expiresAt,omitempty"`
	Reason    session.EndReason `json:"reason,omitempty"`
}

// encode writes e as the receiver reads it.
func encode(e Event) []byte {
	b := body{
		ID: e.ID, Type: e.Type, At: session.MilliOf(e.At), Session: e.Session, Node: e.Node,
		Identity: protocol.IdentityOf(e.Identity), Seq: e.Seq, ExpiresAt: e.ExpiresAt, Reason: e.Reason,
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // strings and numbers: no value of them leads here
	}
	return text
}

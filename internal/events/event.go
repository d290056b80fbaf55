package events

import (
	"encoding/json"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// body is an Event on the wire.
type body struct {
	ID      string            `json:"id"`
	Type    session.EventType `json:"type"`
	At      session.UnixMilli `json:"at"`
	Session string            `json:"session"`
	Node    string            `json:"node,omitempty"`
	protocol.Identity
	Seq       uint64            `json:"seq,omitempty"`
	ExpiresAt session.UnixSec   `json:"expiresAt,omitempty"`
	Reason    session.EndReason `json:"reason,omitempty"`
}

// encode writes e as the receiver reads it.
func encode(e session.Event) []byte {
	b := body{
		ID: e.ID, Type: e.Type, At: e.At, Session: e.Session, Node: e.Node,
		Identity: protocol.IdentityOf(e.Identity), Seq: e.Seq, ExpiresAt: e.ExpiresAt, Reason: e.Reason,
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // strings and numbers: no value of them leads here
	}
	return text
}

package session

// EventType is what happened to a session, as the customer's back end reads it.
type EventType string

const (
	// EventJoined: the session was opened.
	EventJoined EventType = "session.joined"
	// EventUnreachable: its tokens are about to run out and no client is connected;
	// the customer's app can wake the phone.
	EventUnreachable EventType = "session.unreachable"
	// EventEnded: the session is over, for Reason.
	EventEnded EventType = "session.ended"
	// EventExpired: its tokens ran out before they were renewed.
	EventExpired EventType = "session.expired"
)

// EventTypes returns all of them.
func EventTypes() []EventType {
	return []EventType{EventJoined, EventUnreachable, EventEnded, EventExpired}
}

// Event is what happened to a session, for the customer's back end.
type Event struct {
	// ID is the same for every delivery of the event, from any node: "<session>-joined",
	// "<session>-unreachable-<seq>", "<session>-ended", "<session>-expired-<seq>".
	// It is printable ASCII without a dot, which would end the id in what is signed.
	ID        string
	Type      EventType
	At        UnixMilli // when it happened
	App       string    // the App ID
	Session   string
	Subject   string // of the credential that opened the session; empty if it has none
	Node      string
	Identity  Identity
	Seq       uint64    // of the newest tokens
	ExpiresAt UnixSec   // when the newest tokens run out
	Reason    EndReason // of EventEnded
}

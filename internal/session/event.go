package session

// EventType is the type of an Event.
type EventType string

const (
	// EventJoined: the session was opened.
	EventJoined EventType = "session.joined"
	// EventUnreachable: the session's tokens expire soon and no client is connected. Your
	// app can wake the phone.
	EventUnreachable EventType = "session.unreachable"
	// EventEnded: the session has ended, for Reason.
	EventEnded EventType = "session.ended"
	// EventExpired: the session has ended with EndExpired: its tokens and its resume window
	// were over, or its terms, or the node had too many sessions.
	EventExpired EventType = "session.expired"
)

// EventTypes returns all event types.
func EventTypes() []EventType {
	return []EventType{EventJoined, EventUnreachable, EventEnded, EventExpired}
}

// Event tells your back end what happened to a session.
type Event struct {
	// ID is the same for every delivery of the event, from any node: "<session>-joined",
	// "<session>-unreachable-<seq>", "<session>-ended", "<session>-expired-<seq>".
	// It is printable ASCII without a dot, which would end the id in what is signed.
	ID        string
	Type      EventType
	At        UnixMilli
	App       string // the App ID
	Session   string
	Subject   string // of the credential that opened the session; empty if it has none
	Node      string
	Identity  Identity
	Seq       uint64    // of the newest bundle
	ExpiresAt UnixSec   // when the newest bundle expires
	Reason    EndReason // of EventEnded
}

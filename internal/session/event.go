package session

// EventType is the type of an Event.
type EventType string

const (
	// EventJoined means that the session was opened.
	EventJoined EventType = "session.joined"
	// EventUnreachable: the session's tokens expire soon and no client is connected. Your back end
	// can wake the app on the phone, so that its client reconnects.
	EventUnreachable EventType = "session.unreachable"
	// EventEnded means that the session has ended. Event.Reason says why.
	EventEnded EventType = "session.ended"
	// EventExpired: the session has ended with EndExpired, because its tokens and its resume window
	// were over, because its terms were over, or because the node had too many sessions.
	EventExpired EventType = "session.expired"
)

// EventTypes returns all event types.
func EventTypes() []EventType {
	return []EventType{EventJoined, EventUnreachable, EventEnded, EventExpired}
}

// Event tells your back end what happened to a session.
type Event struct {
	// ID is the same for every delivery of the event, from any node: "<session>-joined",
	// "<session>-unreachable-<seq>", "<session>-ended", "<session>-expired-<seq>". It is printable
	// ASCII without a dot, since a dot ends the id in the signed text.
	ID        string
	Type      EventType
	At        UnixMilli
	App       string // the App ID of the session's project
	Session   string
	Subject   string // the subject of the credential that opened the session; empty if it has none
	Node      string
	Identity  Identity
	Seq       uint64    // the seq of the newest bundle
	ExpiresAt UnixSec   // when the newest bundle expires
	Reason    EndReason // of EventEnded
}

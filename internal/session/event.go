package session

// EventType is the type of an Event.
type EventType string

const (
	// EventJoined means that the session was opened.
	EventJoined EventType = "session.joined"
	// EventUnreachable means that the session's tokens expire soon and no client is connected. Your
	// back end can wake the app on the phone, so that its client reconnects.
	EventUnreachable EventType = "session.unreachable"
	// EventEnded means that the session has ended. Event.Reason says why.
	EventEnded EventType = "session.ended"
	// EventExpired means that the session has ended with EndExpired, because its tokens and its
	// resume window had expired, its terms had ended, or the node had too many sessions.
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
	// ASCII without a dot, since a dot marks the end of the ID in the text that webhooks sign.
	ID      string
	Type    EventType
	At      UnixMilli
	App     string
	Session string
	// Subject is the subject of the credential that opened the session; it is empty if the
	// credential has none.
	Subject  string
	Node     string
	Identity Identity
	// Seq and ExpiresAt describe the newest bundle.
	Seq       uint64
	ExpiresAt UnixSec
	// Reason is set only in an event of the type EventEnded.
	Reason EndReason
}

package edge

// Event is an event that the simulated edge sends to a client. Its JSON is a line of the line protocol.
type Event struct {
	Name   string `json:"event"`
	Leg    Leg    `json:"leg"`
	Reason string `json:"reason,omitempty"` // set only if Name is StateChange
}

// Names of events, as in the web SDK.
const (
	WillExpire  = "token-privilege-will-expire" // the token expires soon; the client should renew it
	DidExpire   = "token-privilege-did-expire"  // the token has expired and the call is over; the client must join again
	StateChange = "connection-state-change"     // another client joined as the same user, which ended this call
)

// Reasons of a StateChange.
const (
	ReasonUIDBanned     = "UID_BANNED"      // in RTC, where the SDK has one reason for a ban and for a second join of the same uid
	ReasonSameUserLogin = "SAME_USER_LOGIN" // in RTM and Chat
)

// mailbox holds events until they are read. A sender never waits: a full mailbox drops its oldest event, so the last
// event of a call is always kept. Calls of put and close must not overlap.
type mailbox chan Event

const mailboxSize = 64 // events

func newMailbox() mailbox { return make(mailbox, mailboxSize) }

func (m mailbox) put(event Event) {
	for {
		select {
		case m <- event:
			return
		default:
		}
		select {
		case <-m:
		default:
		}
	}
}

func (m mailbox) close() { close(m) }

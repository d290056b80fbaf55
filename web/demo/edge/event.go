package edge

// Event is an event that the edge sends to a client. Its JSON is the line in the line protocol.
type Event struct {
	Name   string `json:"event"`
	Leg    Leg    `json:"leg"`
	Reason string `json:"reason,omitempty"` // set only if Name is StateChange
}

// Names of events, as in the web SDK.
const (
	WillExpire  = "token-privilege-will-expire" // the client must renew now; the call goes on
	DidExpire   = "token-privilege-did-expire"  // the token has expired and the call is over: join again
	StateChange = "connection-state-change"     // another client joined as the same user, and this call has ended
)

// Reasons of a StateChange.
const (
	ReasonUIDBanned     = "UID_BANNED"      // RTC; the SDK has this reason for a second join of the uid, and for a ban
	ReasonSameUserLogin = "SAME_USER_LOGIN" // RTM and Chat
)

// mailbox holds events until they are read. It never blocks the sender: if it is full, the oldest event
// is dropped, so that the last event of a call is always kept. The owner must not call put and close
// concurrently.
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

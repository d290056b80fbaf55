package session

import "time"

// Push is one bundle that is sent to the client.
type Push struct {
	Seq    uint64
	Tokens Tokens
	// PreviousExpiresAt is when the tokens that the client is known to have
	// expire; 0 if unknown.
	PreviousExpiresAt UnixSec
	// Rejoin: the previous tokens have expired, so the SDK has left the call
	// and must join again with these. Otherwise it renews.
	Rejoin  bool
	Attempt int // from 1
	Cause   Cause
	Now     UnixMilli
}

// Joined answers a join or a resume.
type Joined struct {
	Push
	Session     string
	Key         string // sealed, see Sealer
	Resumed     bool
	RenewBefore time.Duration // whole seconds
}

// Ending tells a client that its session is over.
type Ending struct {
	Reason EndReason
	// AccessEndsAt is when the last token of the session expires; 0 if
	// unknown. Agora cannot revoke a token, so access ends no earlier.
	AccessEndsAt UnixSec
}

// EndedError refuses a client that comes back to a session that has ended, or that another
// connection has taken over.
type EndedError struct{ Ending }

func (e *EndedError) Error() string { return "session ended: " + string(e.Reason) }

package session

import "time"

// Push is one bundle on its way to the client.
type Push struct {
	Seq    uint64
	Tokens Tokens
	// PreviousExpiresAt is when the tokens run out that the client is known
	// to have; 0 when that is not known.
	PreviousExpiresAt UnixSec
	// Rejoin: those have run out, the SDK has left the call and must join
	// again with these. Otherwise it renews.
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
	// AccessEndsAt is the second at which the last token issued for the
	// session stops to work; 0 when that is not known. Agora cannot revoke a
	// token, so nothing ends access earlier.
	AccessEndsAt UnixSec
}

// EndedError refuses a client that comes back to a session that is over for
// it.
type EndedError struct{ Ending }

func (e *EndedError) Error() string { return "session ended: " + string(e.Reason) }

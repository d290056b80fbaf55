package session

import "time"

// Push is a message to the client with one bundle of tokens.
type Push struct {
	Seq    uint64
	Tokens Tokens
	// PreviousExpiresAt is when the newest tokens that the client has confirmed expire; 0 if
	// unknown.
	PreviousExpiresAt UnixSec
	// Rejoin is true if the previous tokens have expired. Then the SDK has left the call, and the
	// client must join the call again with these tokens. Otherwise the client passes the tokens
	// to the SDK, which stays in the call.
	Rejoin bool
	// Attempt is 1 in the first push of the bundle, and one more in each repetition.
	Attempt int
	Cause   Cause
	Now     UnixMilli
}

// Joined is the answer to a join or a resume.
type Joined struct {
	Push
	Session string
	// Key is the new resume key, encrypted by Sealer.Seal.
	Key     string
	Resumed bool
	// RenewBefore is how long before their expiry the tokens are renewed, in whole seconds.
	RenewBefore time.Duration
}

// Ending is the message to a client that its session has ended.
type Ending struct {
	Reason EndReason
	// AccessEndsAt is when the session's last token expires; 0 if unknown. Agora cannot revoke
	// tokens, so the user can stay in the call until then.
	AccessEndsAt UnixSec
}

// EndedError refuses a client whose session has ended, or whose session has a newer connection.
type EndedError struct{ Ending }

func (e *EndedError) Error() string { return "session ended: " + string(e.Reason) }

package session

import "time"

// Request asks whether an operation on a session is permitted, or the minting of tokens
// without a session.
type Request struct {
	Action Action
	// Claims describes the session. Claims.Session is empty for tokens without a session.
	Claims *ResumeClaims
	// Caller holds the credential that must grant the operation, at a join and for tokens
	// without a session. Otherwise it is nil, since Claims repeats what was granted.
	Caller *Caller
}

// Decision is the answer to a Request.
type Decision struct {
	Allowed bool
	// Until is the second at which the permission ends; 0 if it has no end.
	Until UnixSec
	// Role is the RTC role that the decision is about.
	Role Role
	// Reason is set if Allowed is false.
	Reason Reason
	// RetryAfter is when to ask again, if Reason is ApprovalUnavailable or RevocationsUnknown.
	RetryAfter time.Duration
	// Refusal is the answer to the caller, if Reason is NotGranted.
	Refusal *Error
	// Cause is the error of the request to your back end, if Reason is
	// ApprovalUnavailable. It is for the log.
	Cause error
}

// Reason says why a Decision is a refusal.
type Reason uint8

const (
	// NotGranted: the credential does not grant the operation.
	NotGranted Reason = iota + 1
	// Revoked: an operator's revocation matches.
	Revoked
	// Denied: your back end answered that it does not allow the operation.
	Denied
	// ApprovalUnavailable: your back end gave no answer. This is not a denial: an open
	// session continues for Policy.ApprovalGrace.
	ApprovalUnavailable
	// RevocationsUnknown: the node has just started, and has not read the revocations yet.
	RevocationsUnknown
)

// retryUndecided is the RetryAfter of ApprovalUnavailable and RevocationsUnknown.
const retryUndecided = 2 * time.Second

// Refuse returns a Decision that refuses for this reason.
func Refuse(r Reason) Decision {
	d := Decision{Reason: r}
	if r == ApprovalUnavailable || r == RevocationsUnknown {
		d.RetryAfter = retryUndecided
	}
	return d
}

// Err returns the *Error for the caller, or nil if it is allowed.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	switch d.Reason {
	case NotGranted:
		return d.Refusal
	case Revoked:
		return ErrRevoked
	case ApprovalUnavailable:
		return ErrApprovalUnavailable
	case RevocationsUnknown:
		return ErrRevocationsUnknown
	default:
		return ErrDenied
	}
}

package session

import "time"

// Request asks whether something may be done for a session, or for tokens without one.
type Request struct {
	Action Action
	// Key is the session; tokens without a session have no Session in it.
	Claims *ResumeClaims
	// Caller is whose credential has to grant it, and from then on the Key says what it
	// granted: nil except at a join, and for tokens without a session.
	Caller *Caller
}

// Decision is the answer to a Request.
type Decision struct {
	Allowed bool
	// Until is the last second to which it is allowed; 0 is no bound.
	Until UnixSec
	// Role is the RTC role that was decided about.
	Role Role
	// Reason says why it is not allowed.
	Reason Reason
	// RetryAfter is when to ask again, if Reason is ApprovalUnavailable or RevocationsUnknown.
	RetryAfter time.Duration
	// Refusal is what the caller is told, if Reason is NotGranted.
	Refusal *Error
	// Cause is why the back end gave no answer, if Reason is ApprovalUnavailable. It is for the log.
	Cause error
}

// Reason is why a Decision does not allow something.
type Reason uint8

const (
	// NotGranted: the credential does not grant it.
	NotGranted Reason = iota + 1
	// Revoked: an operator's revocation matches.
	Revoked
	// Denied: the customer's back end does not allow it, or not any more.
	Denied
	// ApprovalUnavailable: the customer's back end gave no answer. That is no denial: a session that is
	// open goes on for Policy.ApprovalGrace.
	ApprovalUnavailable
	// RevocationsUnknown: the node has just started, and has not read the revocations yet.
	RevocationsUnknown
)

// retryUndecided is when to ask again after ApprovalUnavailable or RevocationsUnknown.
const retryUndecided = 2 * time.Second

// Refuse makes a Decision that does not allow something.
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

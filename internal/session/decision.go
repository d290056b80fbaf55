package session

import "time"

// Request asks package access whether it permits an operation on a session, or the minting of
// tokens without a session.
type Request struct {
	Action Action
	// Claims describes the session. Claims.Session is empty for tokens without a session.
	Claims *ResumeClaims
	// Caller is the credential that must grant the operation, at a join and for tokens without a
	// session. In other requests it is nil, since Claims contains what was granted at the join.
	Caller *Caller
}

// Decision is the answer to a Request.
type Decision struct {
	Allowed bool
	// Until is the second at which the permission ends; 0 if it is unlimited.
	Until UnixSec
	// Role is the RTC role that was permitted or refused.
	Role Role
	// Reason is set if Allowed is false.
	Reason Reason
	// RetryAfter is how long to wait before the next request, if Reason is ApprovalUnavailable or
	// RevocationsUnknown.
	RetryAfter time.Duration
	// Refusal is the error for the caller, if Reason is NotGranted.
	Refusal *Error
	// Cause is the error of the failed request to your back end, if Reason is ApprovalUnavailable.
	// It is for the log.
	Cause error
}

// Reason is why a Decision refuses.
type Reason uint8

const (
	// NotGranted means that the credential does not grant the operation.
	NotGranted Reason = iota + 1
	// Revoked means that an operator has revoked access for the session's user, channel or subject.
	Revoked
	// Denied means that your back end refused the operation.
	Denied
	// ApprovalUnavailable means that your back end did not answer. This does not end an open session:
	// it continues for Policy.ApprovalGrace.
	ApprovalUnavailable
	// RevocationsUnknown means that the node has just started and has not loaded the revocations yet,
	// so it cannot know whether the session is revoked.
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

// Err returns the *Error to send to the caller, or nil if the operation is allowed.
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

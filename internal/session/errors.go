package session

import (
	"fmt"
	"time"
)

// Code names a refusal on the wire: the `code` of an `error` message and of an
// HTTP error body. The set is fixed by the protocol; clients branch on it.
type Code string

const (
	CodeBadRequest      Code = "bad_request"
	CodeUnknownType     Code = "unknown_type"
	CodeUnauthenticated Code = "unauthenticated"
	CodeForbidden       Code = "forbidden"
	CodeUnknownSession  Code = "unknown_session"
	CodeRateLimited     Code = "rate_limited"
	CodeUnavailable     Code = "unavailable"
	CodeInternal        Code = "internal"
)

// Error is a refusal whose text the caller may see: Message names the input
// that was wrong and what would be right, and never carries a secret. Every
// other error reaches clients as CodeInternal with a fixed text.
type Error struct {
	Code    Code
	Message string
	// RetryAfter is when to come back, where that would help; zero is not
	// known.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf builds an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// ErrUnknown is the one answer to every session and key that do not fit
// together, so that it teaches nothing about why.
var ErrUnknown = Errorf(CodeUnknownSession, "this session and key are not known here; join afresh")

// ErrNotOpen refuses what an operator wants of a session that is not open, or not of the
// operator's project.
var ErrNotOpen = Errorf(CodeUnknownSession, "no such session is open; see GET /v1/sessions")

// Refusals of tokens that a credential grants, and that are not to be had all the
// same: for a session as without one.
var (
	ErrRevoked = Errorf(CodeForbidden, "access was revoked")
	ErrDenied  = Errorf(CodeForbidden, "the application does not allow this")
	// ErrApprovalUnavailable: the customer's back end does not answer.
	ErrApprovalUnavailable = &Error{
		Code: CodeUnavailable, Message: "the application cannot be asked whether to allow this; try again", RetryAfter: retryUndecided,
	}
	// ErrRevocationsUnknown: a node that has just started, while its store is away.
	ErrRevocationsUnknown = &Error{
		Code: CodeUnavailable, Message: "this node does not know yet what was revoked; try again", RetryAfter: retryUndecided,
	}
)

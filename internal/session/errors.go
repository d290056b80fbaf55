package session

import (
	"fmt"
	"strings"
	"time"
)

// Code is the reason of a refusal: the `code` of an `error` message and of an HTTP error body. The
// protocol defines the set of codes, and clients branch on them.
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

// Error is an error that may be shown to the caller. Message names the wrong input and says what
// would be right, and never contains a secret. For any other error, clients get CodeInternal with a
// fixed text.
type Error struct {
	Code    Code
	Message string
	// RetryAfter is how long to wait before the next attempt; 0 if unknown.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf builds an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Rename returns e with another name for the field at the beginning of its message, such as "rtc.channel", if names maps
// this field to another name. With it, an error names the field as the caller wrote it, for example as a flag or as a
// parameter of a query.
func (e *Error) Rename(names map[string]string) *Error {
	field, rest, _ := strings.Cut(e.Message, ": ")
	name, ok := names[field]
	if !ok {
		return e
	}
	renamed := *e
	renamed.Message = name + ": " + rest
	return &renamed
}

// ErrUnknown is the answer to every invalid resume key. All invalid keys get the same answer, so that
// an attacker cannot learn why a key is invalid.
var ErrUnknown = Errorf(CodeUnknownSession, "this session or its key is unknown; join again")

// ErrNotOpen refuses an operator's request about a session that is not open or belongs to another
// project.
var ErrNotOpen = Errorf(CodeUnknownSession, "no such session is open; see GET /v1/sessions")

// These errors refuse tokens although the credential grants them. They are for requests with and
// without a session.
var (
	ErrRevoked = Errorf(CodeForbidden, "access was revoked")
	ErrDenied  = Errorf(CodeForbidden, "your back end does not allow this")
	// ErrApprovalUnavailable means that your back end gave no answer, so the request may be repeated.
	ErrApprovalUnavailable = &Error{
		Code: CodeUnavailable, Message: "your back end did not answer the approval request; try again", RetryAfter: retryUndecided,
	}
	// ErrRevocationsUnknown means that the node has just started, and has not loaded the revocations
	// from the store yet.
	ErrRevocationsUnknown = &Error{
		Code: CodeUnavailable, Message: "this node has not loaded the revocations yet; try again", RetryAfter: retryUndecided,
	}
)

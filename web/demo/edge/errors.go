package edge

import "fmt"

// Codes of refusals: the numbers of Agora's native SDKs, since the web SDK has only names for most.
const (
	CodeInvalidParams = 2   // the request itself is malformed
	CodeAlreadyJoined = 17  // a join on a leg that is already in a call
	CodeInvalidAppID  = 101 // a join with a token of an app that this edge does not serve
	CodeExpired       = 109 // the token, or its join privilege, has expired
	CodeInvalidToken  = 110 // malformed, wrongly signed, or for another channel, user, service or app
	CodeNotJoined     = 113 // a renewal or a leave on a leg that has no call
)

// words maps the codes to the SDKs' names for them. Error texts begin with them, so that a test can search for
// INVALID_OPERATION like an app.
var words = map[int]string{
	CodeInvalidParams: "INVALID_PARAMS",
	CodeAlreadyJoined: "INVALID_OPERATION",
	CodeInvalidAppID:  "ERR_INVALID_APP_ID",
	CodeExpired:       "ERR_TOKEN_EXPIRED",
	CodeInvalidToken:  "ERR_INVALID_TOKEN",
	CodeNotJoined:     "INVALID_OPERATION",
}

// Error is a refusal. All errors of joins, renewals and leaves are *Errors, in process and over the
// line protocol; a [Client] returns other errors only about its connection.
type Error struct {
	Code int    // one of the Code constants
	Text string // "NAME: what is wrong"; never holds a token or a certificate
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Text, e.Code) }

func refuse(code int, format string, args ...any) *Error {
	return &Error{Code: code, Text: words[code] + ": " + fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *Error {
	return refuse(CodeInvalidToken, format, args...)
}

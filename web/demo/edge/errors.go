package edge

import "fmt"

// Codes of refusals are the error numbers of Agora's native SDKs. The web SDK has names for most of them, and no
// numbers.
const (
	CodeInvalidParams = 2   // the request is malformed
	CodeAlreadyJoined = 17  // a join on a leg that has a call already
	CodeInvalidAppID  = 101 // a join with a token of another App ID
	CodeExpired       = 109 // the token, or its join privilege, has expired
	CodeInvalidToken  = 110 // a token that is malformed, wrongly signed, or for another channel, user, service or app
	CodeNotJoined     = 113 // a renewal or a leave on a leg that has no call
)

// words maps the codes to the names that the SDKs have for them. Error texts begin with these names, so that a test can
// search for INVALID_OPERATION as an app would.
var words = map[int]string{
	CodeInvalidParams: "INVALID_PARAMS",
	CodeAlreadyJoined: "INVALID_OPERATION",
	CodeInvalidAppID:  "ERR_INVALID_APP_ID",
	CodeExpired:       "ERR_TOKEN_EXPIRED",
	CodeInvalidToken:  "ERR_INVALID_TOKEN",
	CodeNotJoined:     "INVALID_OPERATION",
}

// Error is a refusal of a join, a renewal or a leave, in process or over the line protocol. Other errors of a [Client]
// are about its connection.
type Error struct {
	Code int    // one of the Code constants
	Text string // the name, a colon, and the reason; it contains no token and no certificate
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Text, e.Code) }

func refuse(code int, format string, args ...any) *Error {
	return &Error{Code: code, Text: words[code] + ": " + fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *Error {
	return refuse(CodeInvalidToken, format, args...)
}

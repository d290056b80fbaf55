package protocol

import "refresher/internal/session"

// Subprotocol is the WebSocket subprotocol's name.
const Subprotocol = "refresher.v1"

// MaxMessage is the longest message that a client may send, in bytes.
const MaxMessage = 8 << 10

// CloseCode is the status code of a WebSocket close frame.
type CloseCode int

// Close codes after which a client connects again and resumes.
const (
	CloseGoingAway CloseCode = 1001
	CloseAbnormal  CloseCode = 1006 // never sent: the connection broke
	CloseInternal  CloseCode = 1011
	CloseDrain     CloseCode = 1012
	CloseOverload  CloseCode = 1013
	CloseLost      CloseCode = 4001 // heartbeat or acks stopped
	CloseTooSlow   CloseCode = 4002 // the client does not read
)

// Close codes that are final: connecting again as before would end the same
// way.
const (
	CloseLeft            CloseCode = 1000
	CloseNotUTF8         CloseCode = 1007
	CloseTooLarge        CloseCode = 1009
	CloseMalformed       CloseCode = 4400
	CloseUnauthenticated CloseCode = 4401
	CloseForbidden       CloseCode = 4403
	CloseUnknownSession  CloseCode = 4404 // join afresh
	CloseNoJoin          CloseCode = 4408
	CloseSuperseded      CloseCode = 4409
	CloseEnded           CloseCode = 4410
	CloseRateLimited     CloseCode = 4429
)

// Terminal reports whether a client that sees this code stops, rather than
// connects again and resumes. Codes that this protocol does not name are not
// terminal: they come from what lies between.
func (c CloseCode) Terminal() bool { return closeCodes[c] }

// Known reports whether the protocol names this code.
func (c CloseCode) Known() bool {
	_, ok := closeCodes[c]
	return ok
}

// closeCodes tells which codes are terminal.
var closeCodes = map[CloseCode]bool{
	CloseGoingAway: false, CloseAbnormal: false, CloseInternal: false, CloseDrain: false,
	CloseOverload: false, CloseLost: false, CloseTooSlow: false,
	CloseLeft: true, CloseNotUTF8: true, CloseTooLarge: true, CloseMalformed: true, CloseUnauthenticated: true,
	CloseForbidden: true, CloseUnknownSession: true, CloseNoJoin: true, CloseSuperseded: true,
	CloseEnded: true, CloseRateLimited: true,
}

// CloseForError is the code to close with after a refusal that ends the
// connection.
func CloseForError(code session.Code) CloseCode {
	switch code {
	case session.CodeBadRequest, session.CodeUnknownType:
		return CloseMalformed
	case session.CodeUnauthenticated:
		return CloseUnauthenticated
	case session.CodeForbidden:
		return CloseForbidden
	case session.CodeUnknownSession:
		return CloseUnknownSession
	case session.CodeRateLimited:
		return CloseRateLimited
	case session.CodeUnavailable:
		return CloseOverload
	default:
		return CloseInternal
	}
}

// CloseForEnd is the code to close with after `ended`.
func CloseForEnd(reason session.EndReason) CloseCode {
	switch reason {
	case session.EndLeft:
		return CloseLeft
	case session.EndSuperseded:
		return CloseSuperseded
	default:
		return CloseEnded
	}
}

// CloseForReturn is the code to refuse a client with that comes back to a
// session which has ended so: also one that was left is over, not just now
// left.
func CloseForReturn(reason session.EndReason) CloseCode {
	if reason == session.EndSuperseded {
		return CloseSuperseded
	}
	return CloseEnded
}

// StatusForError is the HTTP status that goes with a refusal.
func StatusForError(code session.Code) int {
	switch code {
	case session.CodeBadRequest, session.CodeUnknownType:
		return 400
	case session.CodeUnauthenticated:
		return 401
	case session.CodeForbidden:
		return 403
	case session.CodeUnknownSession:
		return 404
	case session.CodeRateLimited:
		return 429
	case session.CodeUnavailable:
		return 503
	default:
		return 500
	}
}

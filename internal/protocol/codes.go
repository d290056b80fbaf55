package protocol

import (
	"time"

	"refresher/internal/session"
)

// Subprotocol is the WebSocket subprotocol's name.
const Subprotocol = "refresher.v1"

// Limits of one connection.
const (
	MaxMessage          = 8 << 10          // bytes of a message from the client
	FirstMessageTimeout = 10 * time.Second // from the handshake to the join or resume
	WriteTimeout        = 5 * time.Second  // for the client to take one message
	// The message rate is far above a client's needs, and far below one that would overload
	// a node.
	MessagesPerSecond = 10
	MessageBurst      = 50
)

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

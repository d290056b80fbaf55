package protocol

import (
	"time"

	"refresher/internal/session"
)

// Subprotocol is the name of the WebSocket subprotocol.
const Subprotocol = "refresher.v1"

// Limits of one connection.
const (
	MaxMessage          = 8 << 10          // maximum size of a message from the client, in bytes
	FirstMessageTimeout = 10 * time.Second // maximum time from the handshake to the join or resume message
	WriteTimeout        = 5 * time.Second  // maximum time of a write to the client
	// MessagesPerSecond is how many messages a client may send per second, after a burst of MessageBurst. A client
	// needs far fewer. Far more would overload a node.
	MessagesPerSecond = 10
	MessageBurst      = 50
)

// CloseForError returns the close code after an error that ends the connection.
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

// CloseForEnd returns the code with which the service closes a connection after the message `ended`.
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

// CloseForReturn returns the close code for a client that resumes a session which has ended for
// this reason. It differs from CloseForEnd only if the client has left the session: then the code is CloseEnded.
func CloseForReturn(reason session.EndReason) CloseCode {
	if reason == session.EndSuperseded {
		return CloseSuperseded
	}
	return CloseEnded
}

// StatusForError returns the HTTP status for an error.
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

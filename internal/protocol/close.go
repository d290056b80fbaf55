package protocol

import (
	"fmt"
	"slices"

	"refresher/internal/session"
)

// CloseCode is the status code of a WebSocket close frame.
type CloseCode int

// Close codes. The variable closeCodes says for each code when the service sends it, and what a client does then.
const (
	CloseLeft            CloseCode = 1000
	CloseGoingAway       CloseCode = 1001
	CloseAbnormal        CloseCode = 1006
	CloseNotUTF8         CloseCode = 1007
	CloseTooLarge        CloseCode = 1009
	CloseInternal        CloseCode = 1011
	CloseDrain           CloseCode = 1012
	CloseOverload        CloseCode = 1013
	CloseLost            CloseCode = 4001
	CloseTooSlow         CloseCode = 4002
	CloseMalformed       CloseCode = 4400
	CloseUnauthenticated CloseCode = 4401
	CloseForbidden       CloseCode = 4403
	CloseUnknownSession  CloseCode = 4404
	CloseNoJoin          CloseCode = 4408
	CloseSuperseded      CloseCode = 4409
	CloseEnded           CloseCode = 4410
	CloseRateLimited     CloseCode = 4429
)

// AfterClose is what a client must do after its connection was closed.
type AfterClose string

const (
	// Stop means that the client must not reconnect, because the same close would follow.
	Stop AfterClose = "stop"
	// JoinAfresh means that the node does not know the session. A client with a session forgets the session
	// and joins again, at most once. A client without a session stops.
	JoinAfresh AfterClose = "join afresh"
	// Retry means that the client waits, connects again, and resumes, or joins if it has no session.
	// It waits as long as the message `reconnect` said, or if there was none, for its own backoff.
	Retry AfterClose = "retry"
)

// Close is the protocol's definition of one close code.
type Close struct {
	Code CloseCode
	Then AfterClose
	// Needs is the type of the message that the service sends before a close with this code. Without that message, a
	// proxy or a WebSocket library may have closed the connection with the same code, so the client must Retry. Needs
	// is empty for codes that only the service sends.
	Needs string
	// Errors are the codes of the error messages that may precede the close.
	Errors []session.Code
	// Reasons are the reasons of the message `ended` or `reconnect` that may precede the close.
	Reasons []string
	When    string // text for the documents that says when the code is sent
}

// closeCodes defines all close codes, in ascending order. The Go clients use it through the method After. The
// tables in docs and the test cases of the browser library are generated from it: run `go generate
// ./test/docs` after a change.
var closeCodes = []Close{
	{Code: CloseLeft, Then: Stop, Needs: TypeEnded, Reasons: ends(session.EndLeft), When: "The client left."},
	{Code: CloseGoingAway, Then: Retry, When: "The node, or a proxy before it, went away."},
	{Code: CloseAbnormal, Then: Retry, When: "The connection broke without a close frame: WebSocket libraries report that as 1006."},
	{Code: CloseNotUTF8, Then: Stop, Needs: TypeError, Errors: errs(session.CodeBadRequest), When: "The client sent a message, or a close frame, whose text is not UTF-8."},
	{Code: CloseTooLarge, Then: Stop, Needs: TypeError, Errors: errs(session.CodeBadRequest), When: fmt.Sprintf("A message over %d bytes.", MaxMessage)},
	{Code: CloseInternal, Then: Retry, Errors: errs(session.CodeInternal), When: "The server failed."},
	{Code: CloseDrain, Then: Retry, Reasons: []string{ReasonDrain}, When: "The node stops. `reconnect` said when to connect again."},
	{Code: CloseOverload, Then: Retry, Errors: errs(session.CodeUnavailable), Reasons: []string{ReasonOverload}, When: "The node is full or cannot reach a system that it needs, or too many clients join at once. If the server knows when the client should connect again, it sent `reconnect`."},
	{Code: CloseLost, Then: Retry, When: "The client sent no heartbeat, or did not answer two pushes."},
	{Code: CloseTooSlow, Then: Retry, When: "The client does not read. The client sees 1006; only the server's metrics have 4002."},
	{Code: CloseMalformed, Then: Stop, Errors: errs(session.CodeBadRequest, session.CodeUnknownType), When: "A message was malformed, or the first message broke a rule."},
	{Code: CloseUnauthenticated, Then: Stop, Errors: errs(session.CodeUnauthenticated), When: "No valid credential."},
	{Code: CloseForbidden, Then: Stop, Errors: errs(session.CodeForbidden), When: "The credential does not grant the request, a revocation matches it, or your back end denied it."},
	{Code: CloseUnknownSession, Then: JoinAfresh, Errors: errs(session.CodeUnknownSession), When: "The service does not know the session, or the key does not belong to it."},
	{Code: CloseNoJoin, Then: Retry, Errors: errs(session.CodeBadRequest), When: "Neither `join` nor `resume` arrived in time, for example because the page was frozen after the handshake."},
	{Code: CloseSuperseded, Then: Stop, Reasons: ends(session.EndSuperseded), When: "A newer connection has taken the session over, or the client presented an outdated key."},
	{Code: CloseEnded, Then: Stop, Reasons: ends(session.EndLeft, session.EndRevoked, session.EndDenied, session.EndExpired), When: "The session is over."},
	{Code: CloseRateLimited, Then: Stop, Errors: errs(session.CodeRateLimited), When: "Too many messages."},
}

func errs(codes ...session.Code) []session.Code { return codes }

func ends(reasons ...session.EndReason) []string {
	var texts []string
	for _, r := range reasons {
		texts = append(texts, string(r))
	}
	return texts
}

// CloseCodes returns all close codes of the protocol, in ascending order.
func CloseCodes() []Close { return slices.Clone(closeCodes) }

// Known reports whether the protocol defines this code.
func (c CloseCode) Known() bool {
	_, known := c.find()
	return known
}

// After returns what a client must do after a close with code c. The argument `last` is the type of the last message
// before the close, or "" if there was none. After the message `ended` the client stops, whatever the code is, since the
// close frame may have been lost. After a code that the protocol does not define, the client retries, since not the
// service but a proxy or a WebSocket library has sent the code.
func (c CloseCode) After(last string) AfterClose {
	row, known := c.find()
	switch {
	case row.Then == JoinAfresh:
		return JoinAfresh
	case last == TypeEnded:
		return Stop
	case !known, row.Needs != "" && row.Needs != last:
		return Retry
	default:
		return row.Then
	}
}

func (c CloseCode) find() (Close, bool) {
	i, found := slices.BinarySearchFunc(closeCodes, c, func(row Close, c CloseCode) int { return int(row.Code - c) })
	if !found {
		return Close{}, false
	}
	return closeCodes[i], true
}

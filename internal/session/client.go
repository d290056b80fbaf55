package session

import "time"

// Join is a client's request to open a session.
type Join struct {
	Identity Identity
	// TTL is the lifetime of the tokens, in whole seconds; zero is the
	// operator's default.
	TTL time.Duration
	// Format is the token format that the client asks for; nil leaves it to the
	// credential and the operator.
	Format *Format
	// Caller holds what the client's credential says.
	Caller Caller
}

// Resume is a client's request to continue a session, with the session's resume key.
type Resume struct {
	Session string
	Key     string // sealed, see Sealer
	// Claims is the decrypted Key; nil until Scheduler.Open has set it.
	Claims *ResumeClaims
	// Seq is the seq of the newest bundle that the client has applied. SeqUnknown is
	// true if the request does not name one.
	Seq        uint64
	SeqUnknown bool
	// ExpiresAt is when the client's tokens expire; 0 if the request does not say. A
	// node that has no record of the session relies on it.
	ExpiresAt UnixSec
}

// Check returns an *Error if Seq or ExpiresAt is out of range.
func (r Resume) Check() error {
	if r.Seq > MaxSeq {
		return Errorf(CodeBadRequest, "seq: want at most %d", MaxSeq)
	}
	if err := r.ExpiresAt.Check(); err != nil {
		return Errorf(CodeBadRequest, "expiresAt: %s", err)
	}
	return nil
}

// Client is the connection that a session sends to. The scheduler makes one call at a time
// for each session. No method blocks for longer than a write deadline, and none calls the
// Attachment.
type Client interface {
	// Joined answers the join or resume that attached the client.
	Joined(Joined) error
	// Push sends a new bundle, or the same one again.
	Push(Push) error
	// End sends the reason of the session's end and closes the connection.
	End(Ending)
	// CloseDead closes the connection because the client does not answer.
	CloseDead()
}

// Attachment passes a client's messages to its session. Once a newer attachment has
// replaced it, its methods do nothing. They are safe for concurrent use. An error is an
// *Error and leaves the session unchanged.
type Attachment interface {
	// Ack records that the client's SDK accepted bundle seq.
	Ack(seq uint64) error
	// Nack records that the SDK refused bundle seq. code and message are the SDK's.
	Nack(seq uint64, code, message string) error
	// Renew requests new tokens now.
	Renew()
	// Leave ends the session, because the client has left its call.
	Leave()
	// Detach records that the connection was lost.
	Detach()
}

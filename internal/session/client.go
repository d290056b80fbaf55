package session

import "time"

// Join is a client's request to open a session.
type Join struct {
	Identity Identity
	// TTL is the requested lifetime of the tokens, in whole seconds. Zero requests the operator's
	// default.
	TTL time.Duration
	// Format is the requested token format. Nil requests the format that the credential or the
	// operator sets.
	Format *Format
	// Caller is what the client's credential permits.
	Caller Caller
}

// Resume is a client's request to continue a session, with the session's resume key.
type Resume struct {
	Session string
	// Key is the resume key, encrypted by Sealer.Seal.
	Key string
	// Claims is the decrypted Key. It is nil until Scheduler.Open has set it.
	Claims *ResumeClaims
	// Seq is the seq of the newest bundle that the client has applied. SeqUnknown is true if the
	// request does not contain a seq.
	Seq        uint64
	SeqUnknown bool
	// ExpiresAt is when the client's tokens expire; 0 if the request does not contain the time. A
	// node without a record of the session relies on the client's value.
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

// Client is the connection to which a session sends messages. The scheduler never calls two methods
// at once for one session. A method blocks for at most a write deadline and never calls the
// session's Attachment, which would deadlock.
type Client interface {
	// Joined sends the answer to the join or resume that opened the connection.
	Joined(Joined) error
	// Push sends a new bundle, or repeats one that the client has not confirmed.
	Push(Push) error
	// End sends the reason of the session's end and closes the connection.
	End(Ending)
	// CloseDead closes the connection because the client does not answer.
	CloseDead()
}

// Attachment passes a client's messages to its session. After the client has reconnected, the
// methods of the old connection's Attachment do nothing. All methods are safe for concurrent use. A
// returned error is an *Error, and the session is unchanged.
type Attachment interface {
	// Ack records that the client's SDK accepted bundle seq.
	Ack(seq uint64) error
	// Nack records that the client's SDK refused bundle seq, with the SDK's error code and message.
	Nack(seq uint64, code, message string) error
	// Renew requests new tokens now.
	Renew()
	// Leave ends the session, because the client has left its call.
	Leave()
	// Detach records that the connection was lost.
	Detach()
}

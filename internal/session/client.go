package session

import "time"

// Join is a client's request to open a session.
type Join struct {
	Identity Identity
	// TTL is the lifetime of the tokens, in whole seconds; zero is the
	// operator's default.
	TTL time.Duration
	// Format is the form of the tokens that the client asks for, nil for none.
	Format *Format
	// Caller is the holder of the credential.
	Caller Caller
}

// Resume is a client's request to go on with a session whose resume key it presents.
type Resume struct {
	Session string
	Key     string // sealed, see Sealer
	// Claims is the decrypted Key; nil until it was opened.
	Claims *ResumeClaims
	// Seq is the newest bundle that the client applied. SeqUnknown: it does
	// not say.
	Seq        uint64
	SeqUnknown bool
	// ExpiresAt is when the tokens run out that the client holds; 0 when it
	// does not say. It helps a node that knows no more than the key.
	ExpiresAt UnixSec
}

// Check refuses numbers that are out of range.
func (r Resume) Check() error {
	if r.Seq > MaxSeq {
		return Errorf(CodeBadRequest, "seq: want at most %d", MaxSeq)
	}
	if err := r.ExpiresAt.Check(); err != nil {
		return Errorf(CodeBadRequest, "expiresAt: %s", err)
	}
	return nil
}

// Client is a session's connection, as the session uses it. Calls for one session come
// one at a time. No method blocks for longer than a write deadline, and none calls the
// Attachment.
type Client interface {
	// Joined answers the join or resume that attached the client.
	Joined(Joined) error
	// Push sends a new bundle, or the same one again.
	Push(Push) error
	// End sends the reason of the session's end and closes the connection.
	End(Ending)
	// Lost closes the connection as dead: the client does not answer.
	CloseDead()
}

// Attachment is a session, as its connection uses it. Once a newer attachment
// has taken its place, its methods do nothing. They are safe for concurrent
// use. Errors are *Error and leave the session as it was.
type Attachment interface {
	// Ack: the SDK accepted bundle seq.
	Ack(seq uint64) error
	// Nack: the SDK refused bundle seq, with its code and message.
	Nack(seq uint64, code, message string) error
	// Renew: the client asks for new tokens now.
	Renew()
	// Leave: the client has left its call.
	Leave()
	// Detach: the connection is gone.
	Detach()
}

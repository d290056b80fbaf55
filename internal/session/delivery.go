package session

import "time"

// bundle is one minted set of tokens, without the tokens.
type bundle struct {
	seq       uint64
	expiresAt UnixSec       // 0 = unknown
	expires   time.Duration // the same on the monotonic clock

	certificate Fingerprint // that signed it; 0 = unknown
}

// known reports whether the bundle exists and its expiry is known.
func (b bundle) known() bool { return b.expiresAt != 0 }

// pending is the newest bundle while the client has not confirmed it.
type pending struct {
	tokens  Tokens
	cause   Cause
	rejoin  bool          // the client is told to join its call again, not to renew
	attempt int           // pushes of this seq so far
	last    time.Duration // when it was last sent
	retry   time.Duration // when to act again if the client does not answer
	refused bool          // the SDK refused it: mint another at retry
	sent    bool          // it went out on the connection, not only over HTTP
}

// delivery is the newest bundle minted, and the newest one that the client has confirmed.
type delivery struct {
	held     bundle   // the newest bundle that the client is known to have
	issued   bundle   // the newest bundle minted
	issuedAt UnixSec  // when that was; 0 = unknown
	ackedAt  UnixSec  // when the client last confirmed one; 0 = never, or unknown
	pending  *pending // set while issued is not confirmed

	answered       uint64        // the newest bundle that was acked or nacked here
	nackAfter      time.Duration // no bundle is minted for a nack before this
	renewAfter     time.Duration // no bundle is minted for a renew before this
	silent         uint8         // pushes in a row without an answer, counted to SilentTries+1
	nacked         bool          // the newest bundle was refused, and none confirmed since
	minted         bool          // a bundle was issued, here or by the node whose record this was made from
	fetched        bool          // the newest bundle went out over HTTP, on another node, and is not confirmed
	expiryReported bool          // the end of the held tokens was reported
}

// Issued reports whether a bundle is known to have been minted. It is false for a session
// that was restored from its resume key alone.
func (d *delivery) Issued() bool { return d.minted }

// Unconfirmed reports whether the client has not confirmed the newest bundle.
func (d *delivery) Unconfirmed() bool { return d.pending != nil }

// AssumeIssued makes Issued true, so that the end of a session that was restored from its
// resume key alone is saved. The client has a key, so another node has minted a bundle.
func (d *delivery) AssumeIssued() {
	d.minted = true
	d.issued.seq = max(1, d.issued.seq)
}

// HeldExpires returns when the tokens that the client is known to have expire, on the
// monotonic clock; 0 if unknown.
func (d *delivery) HeldExpires() time.Duration { return d.held.expires }

// Skip skips one seq. Another node may have used it for a bundle on a connection that is
// still open.
func (d *delivery) Skip() { d.issued.seq++ }

// Again returns the unconfirmed push again, because the client asked for tokens. Unlike
// Repeat it does not extend the time that the client has to answer.
func (d *delivery) Again(now Instant) Push {
	p := d.pending
	p.attempt++
	p.last = now.Mono
	return Push{
		Seq: d.issued.seq, Tokens: p.tokens, PreviousExpiresAt: d.held.expiresAt,
		Rejoin: p.rejoin, Attempt: p.attempt, Cause: p.cause, Now: now.Milli(),
	}
}

// Sent records that the newest push was sent on the connection. The client must answer it.
func (d *delivery) Sent() {
	d.silent = min(d.silent+1, SilentTries+1)
	d.pending.sent = true
}

// Acked is the result of an ack.
type Acked struct {
	// Settled is false for a duplicate or outdated ack, which changes nothing.
	Settled bool
	// After is the time from the last push to the ack.
	After time.Duration
	// Margin is the remaining lifetime of the client's previous tokens; 0 if they had
	// expired.
	Margin time.Duration
}

// settle records that the client has the newest bundle.
func (d *delivery) settle(now Instant) Acked {
	a := Acked{Settled: true, After: now.Mono - d.pending.last}
	if d.held.known() {
		a.Margin = max(0, d.held.expires-now.Mono)
	}
	d.held, d.pending, d.silent, d.nacked, d.expiryReported = d.issued, nil, 0, false, false
	d.ackedAt = now.Sec()
	return a
}

// AssumeTaken confirms the bundle that the client was last given over HTTP. It is called for
// a client that renews over HTTP and does not say which bundle it has.
func (d *delivery) AssumeTaken(now Instant) Acked {
	switch p := d.pending; {
	case p == nil && d.fetched:
		d.held, d.fetched, d.expiryReported = d.issued, false, false
		return Acked{}
	case p == nil || p.sent || p.refused:
		return Acked{}
	}
	return d.settle(now)
}

// ReportExpiry returns true the first time it is called after the tokens that the client
// holds have expired, so that each expiry is reported once.
func (d *delivery) ReportExpiry() bool {
	news := !d.expiryReported
	d.expiryReported = true
	return news
}

// heard records an ack or nack of bundle seq. Only the first for each bundle counts as an
// answer to its push: a client can repeat acks, or send renew, without reading pushes.
func (d *delivery) heard(seq uint64) {
	if seq > d.answered {
		d.answered, d.silent = seq, 0
	}
}

// Nack records that the client's SDK refused bundle seq. It returns false for a duplicate or
// outdated nack. A new bundle is minted at once, but at most one per AckTimeout, so that an
// SDK that refuses every bundle is not flooded.
func (d *delivery) Nack(seq uint64, now Instant) (bool, error) {
	if seq > d.issued.seq {
		return false, Errorf(CodeBadRequest, "nack.seq: %d was not sent yet; the newest is %d", seq, d.issued.seq)
	}
	d.heard(seq)
	if seq < d.issued.seq || d.pending != nil && d.pending.refused {
		return false, nil
	}
	if d.pending == nil { // it was confirmed, or needed no confirmation, until now
		d.pending = &pending{last: now.Mono}
	}
	d.pending.refused, d.pending.cause = true, CauseNack
	d.pending.retry = max(now.Mono, d.nackAfter)
	d.nacked = true
	return true, nil
}

// heldExpired reports whether the client's tokens have expired, so that its SDK has left the
// call and must join again. If it is not known which tokens the client has, they count as
// expired once it has refused the newest bundle.
func (d *delivery) heldExpired(now Instant) bool {
	if d.held.known() {
		return d.held.expires <= now.Mono
	}
	return d.nacked
}

// mustRejoin reports whether the client's tokens have expired since the pending bundle was
// pushed with the action "renew". A new bundle, with the action "rejoin", must follow.
func (d *delivery) mustRejoin(now Instant) bool { return !d.pending.rejoin && d.heldExpired(now) }

package session

import "time"

// bundle describes one minted set of tokens. It does not contain the tokens.
type bundle struct {
	seq uint64
	// expiresAt is when the tokens expire, or 0 if that is unknown. expires is the same time on the
	// monotonic clock.
	expiresAt UnixSec
	expires   time.Duration

	certificate Fingerprint
}

// known reports whether the bundle exists and its expiry is known.
func (b bundle) known() bool { return b.expiresAt != 0 }

// pending is the newest bundle until the client has confirmed it.
type pending struct {
	tokens Tokens
	cause  Cause
	// rejoin is true if the client must join its call again with these tokens, since its previous
	// ones have expired.
	rejoin   bool
	attempt  int
	pushedAt time.Duration
	// retry is when the bundle is pushed again or, if the SDK has refused it, when another bundle
	// is minted.
	retry   time.Duration
	refused bool
	// sent is true if the bundle was sent on the connection, not only over HTTP.
	sent bool
}

// delivery records which bundle was minted last, and which one the client has confirmed.
type delivery struct {
	// held is the newest bundle that the client is known to have. issued is the newest bundle that was
	// minted, and issuedAt is when it was minted. pending is nil once the client has confirmed the
	// newest bundle. A time of 0 is unknown.
	held     bundle
	issued   bundle
	issuedAt UnixSec
	ackedAt  UnixSec
	pending  *pending

	// answered is the seq of the newest bundle that was acked or nacked on this node.
	answered uint64
	// Before nackAfter, a nack causes no new bundle. Before renewAfter, a client's request to renew
	// causes none.
	nackAfter  time.Duration
	renewAfter time.Duration
	// silent counts the consecutive pushes without an answer, up to SilentTries+1.
	silent uint8
	// nacked is true if the SDK refused the newest bundle, and has accepted no bundle since.
	nacked bool
	// minted is true if a bundle was minted, on this node or before the session was restored from
	// its record.
	minted bool
	// fetched is true if another node gave the newest bundle to the client over HTTP, and the
	// client has not confirmed it.
	fetched bool
	// expiryReported is true if the expiry of the client's tokens was reported.
	expiryReported bool
}

// Issued reports whether a bundle is known to have been minted. It returns false for a session that
// was restored from its resume key alone.
func (d *delivery) Issued() bool { return d.minted }

// Unconfirmed reports whether the client has not confirmed the newest bundle.
func (d *delivery) Unconfirmed() bool { return d.pending != nil }

// AssumeIssued makes Issued return true. Without AssumeIssued, the end of a session that was
// restored from its resume key alone would not be saved. The assumption is safe: the client has a
// key, so another node has minted a bundle.
func (d *delivery) AssumeIssued() {
	d.minted = true
	d.issued.seq = max(1, d.issued.seq)
}

// HeldExpires returns the expiry of the newest tokens that the client is known to have, on the
// monotonic clock; 0 means unknown.
func (d *delivery) HeldExpires() time.Duration { return d.held.expires }

// Skip leaves one seq unused, because another node may have pushed a bundle with that seq on a
// connection that is still open.
func (d *delivery) Skip() { d.issued.seq++ }

// Again returns the push of the unconfirmed bundle, because the client requested tokens. Unlike
// Repeat, it does not give the client more time to answer.
func (d *delivery) Again(now Instant) Push {
	p := d.pending
	p.attempt++
	p.pushedAt = now.Mono
	return Push{
		Seq: d.issued.seq, Tokens: p.tokens, PreviousExpiresAt: d.held.expiresAt,
		Rejoin: p.rejoin, Attempt: p.attempt, Cause: p.cause, Now: now.Milli(),
	}
}

// Sent records that the newest push was sent on the connection, so the client must answer it.
func (d *delivery) Sent() {
	d.silent = min(d.silent+1, SilentTries+1)
	d.pending.sent = true
}

// Acked is the result of an ack.
type Acked struct {
	// Settled is true if the ack confirmed the newest bundle. A duplicate or outdated ack changes
	// nothing.
	Settled bool
	// After is the time between the last push and the ack.
	After time.Duration
	// Margin is how long the client's previous tokens would still have worked; 0 if they had
	// expired.
	Margin time.Duration
}

// settle records that the client has confirmed the newest bundle.
func (d *delivery) settle(now Instant) Acked {
	a := Acked{Settled: true, After: now.Mono - d.pending.pushedAt}
	if d.held.known() {
		a.Margin = max(0, d.held.expires-now.Mono)
	}
	d.held, d.pending, d.silent, d.nacked, d.expiryReported = d.issued, nil, 0, false, false
	d.ackedAt = now.Sec()
	return a
}

// AssumeTaken records that the client has the bundle that it last got over HTTP. The caller uses
// AssumeTaken for a client that renews over HTTP and does not send the seq of its bundle.
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

// ReportExpiry returns true on its first call after the tokens that the client holds have expired,
// so that the caller reports each expiry once.
func (d *delivery) ReportExpiry() bool {
	news := !d.expiryReported
	d.expiryReported = true
	return news
}

// heard records an ack or nack of bundle seq. Only the first one counts as the answer to the push.
// Otherwise a client that repeats acks or sends renew messages, but does not read pushes, would
// seem alive.
func (d *delivery) heard(seq uint64) {
	if seq > d.answered {
		d.answered, d.silent = seq, 0
	}
}

// Nack records that the client's SDK refused bundle seq. It returns false for a duplicate or
// outdated nack. After a nack that counts, a new bundle is minted at once, but at most one per
// AckTimeout, so that an SDK that refuses every bundle does not cause a flood of them.
func (d *delivery) Nack(seq uint64, now Instant) (bool, error) {
	if seq > d.issued.seq {
		return false, Errorf(CodeBadRequest, "nack.seq: %d was not sent yet; the newest is %d", seq, d.issued.seq)
	}
	d.heard(seq)
	if seq < d.issued.seq || d.pending != nil && d.pending.refused {
		return false, nil
	}
	if d.pending == nil { // before this nack, the bundle counted as confirmed or needed no ack
		d.pending = &pending{pushedAt: now.Mono}
	}
	d.pending.refused, d.pending.cause = true, CauseNack
	d.pending.retry = max(now.Mono, d.nackAfter)
	d.nacked = true
	return true, nil
}

// heldExpired reports whether the client's tokens have expired, so that its SDK has left the call
// and must join the call again. If it is unknown which tokens the client has, heldExpired returns
// true once the SDK has refused the newest bundle.
func (d *delivery) heldExpired(now Instant) bool {
	if d.held.known() {
		return d.held.expires <= now.Mono
	}
	return d.nacked
}

// mustRejoin reports whether the client's tokens have expired since the pending bundle was pushed
// with the action "renew". If so, a new bundle with the action "rejoin" must follow, since an SDK
// whose tokens have expired has left the call.
func (d *delivery) mustRejoin(now Instant) bool { return !d.pending.rejoin && d.heldExpired(now) }

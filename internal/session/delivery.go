package session

import "time"

// bundle is what is remembered of one minted bundle.
type bundle struct {
	seq       uint64
	expiresAt UnixSec       // 0 = unknown
	expires   time.Duration // the same moment on the monotonic clock

	certificate Fingerprint // it was signed with; 0 = unknown
}

// known reports whether there is such a bundle and its expiry is known.
func (b bundle) known() bool { return b.expiresAt != 0 }

// pending is the newest bundle while the client has not confirmed it.
type pending struct {
	tokens  Tokens
	cause   Cause
	rejoin  bool          // told to join again, not to renew
	attempt int           // pushes of this seq so far
	last    time.Duration // when it was last sent
	retry   time.Duration // when to act again if nothing comes back
	refused bool          // the SDK refused it: mint another at retry
	sent    bool          // it went out on the connection, not only over HTTP
}

// delivery is which tokens were made for the client, and which of them it surely has.
type delivery struct {
	held     bundle   // the newest bundle that the client surely has
	issued   bundle   // the newest bundle minted
	issuedAt UnixSec  // when that was; 0 = unknown
	ackedAt  UnixSec  // when the client last confirmed one; 0 = never, or unknown
	pending  *pending // set while issued is not confirmed

	minted    bool          // a bundle was issued, here or by the node whose record this was made from
	silent    int           // pushes in a row without an answer
	answered  uint64        // the newest bundle that was acked or nacked here
	nacks     int           // refusals in a row
	nackAfter time.Duration // no bundle is minted for a nack before this
	askAfter  time.Duration // no bundle is minted for a renew before this
	fetched   bool          // the newest bundle went out over HTTP, on another node, and is not confirmed
	reported  bool          // the end of the held tokens was reported
}

// Issued reports whether any bundle of it is known to have been minted, as
// against a session that is made from its key alone.
func (d *delivery) Issued() bool { return d.minted }

// Unconfirmed reports whether the newest bundle waits for the client's word.
func (d *delivery) Unconfirmed() bool { return d.pending != nil }

// HeldExpires is the monotonic moment at which the tokens run out that the
// client surely has; 0 when that is not known.
func (d *delivery) HeldExpires() time.Duration { return d.held.expires }

// Skip leaves one seq out: another node may have used it for a bundle that is on
// its way, on a connection that is still there.
func (d *delivery) Skip() { d.issued.seq++ }

// Again is the same push, because the client asked. The time by which it has to answer
// stays.
func (d *delivery) Again(now Instant) Push {
	p := d.pending
	p.attempt++
	p.last = now.Mono
	return Push{
		Seq: d.issued.seq, Tokens: p.tokens, PreviousExpiresAt: d.held.expiresAt,
		Rejoin: p.rejoin, Attempt: p.attempt, Cause: p.cause, Now: now.Milli(),
	}
}

// Sent notes that the newest push went out on the connection, where it wants an
// answer.
func (d *delivery) Sent() {
	d.silent++
	d.pending.sent = true
}

// Acked is what an ack settled.
type Acked struct {
	// Settled is false for a duplicate or outdated ack, which changes nothing.
	Settled bool
	// After is the time from the last push to the ack.
	After time.Duration
	// Margin is the life that was left in the old tokens, 0 when none was.
	Margin time.Duration
}

// settle makes the newest bundle the one that the client surely has.
func (d *delivery) settle(now Instant) Acked {
	a := Acked{Settled: true, After: now.Mono - d.pending.last}
	if d.held.known() {
		a.Margin = max(0, d.held.expires-now.Mono)
	}
	d.held, d.pending, d.silent, d.nacks, d.reported = d.issued, nil, 0, 0, false
	d.ackedAt = now.Sec()
	return a
}

// AssumeTaken takes a client that asks over HTTP, and does not say what it has,
// to have what it was last given there.
func (d *delivery) AssumeTaken(now Instant) Acked {
	switch p := d.pending; {
	case p == nil && d.fetched:
		d.held, d.fetched, d.reported = d.issued, false, false
		return Acked{}
	case p == nil || p.sent || p.refused:
		return Acked{}
	}
	return d.settle(now)
}

// ReportRunOut reports whether the end of the tokens that the client holds is
// news: each bundle runs out once.
func (d *delivery) ReportRunOut() bool {
	news := !d.reported
	d.reported = true
	return news
}

// heard notes an ack or nack of bundle seq. Only the first for each bundle counts as an
// answer to its push: a client can repeat it, or send renew, without reading anything.
func (d *delivery) heard(seq uint64) {
	if seq > d.answered {
		d.answered, d.silent = seq, 0
	}
}

// Nack takes the client's word that its SDK refused bundle seq, and reports
// whether that is news. Another bundle follows at once, but no sooner than an
// AckTimeout after the last one that followed a refusal, whatever was confirmed in
// between: an SDK that refuses everything is not flooded.
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
	d.nacks++
	return true, nil
}

// hasRunOut reports whether the tokens that the client surely has are dead, so
// that its SDK has left the call and must join again. When it is not known
// what the client has, its refusal of the newest is taken for that.
func (d *delivery) hasRunOut(now Instant) bool {
	if d.held.known() {
		return d.held.expires <= now.Mono
	}
	return d.nacks > 0
}

// turned reports that the client's tokens ran out while the renewal was on its
// way: what was "renew" must become "rejoin".
func (d *delivery) turned(now Instant) bool { return !d.pending.rejoin && d.hasRunOut(now) }

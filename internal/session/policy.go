package session

import (
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// MaxLifetime is the maximum lifetime of an Agora token. If more is requested, Agora shortens the
// lifetime without an error.
const MaxLifetime = 24 * time.Hour

// SilentTries is the number of consecutive unanswered pushes after which the connection is
// closed as dead.
const SilentTries = 2

// If Policy.RenewBefore is zero, these bounds limit how long before their expiry tokens are
// renewed.
const (
	minRenewBefore = 45 * time.Second
	maxRenewBefore = 5 * time.Minute
)

// Policy holds the operator's settings for all sessions. It is shared and read-only.
type Policy struct {
	// TTL is the lifetime of tokens if the client requests none. MinTTL and MaxTTL bound the
	// lifetime that a client may request. All three are whole seconds.
	TTL, MinTTL, MaxTTL time.Duration
	// DefaultFormat is the token format if neither the request nor the credential names one.
	DefaultFormat Format
	// MaxSession is the maximum duration of a session.
	MaxSession time.Duration
	// RenewBefore is how long before their expiry tokens are renewed (the head start). Zero means a
	// tenth of their lifetime, but at least 45 s and at most 5 min. HeadStart limits the result to
	// half the lifetime.
	RenewBefore time.Duration
	// AckTimeout is how long the client has to confirm a push.
	AckTimeout time.Duration
	// ResumeWindow is how long a session stays open after its connection was lost. The session
	// stays open longer if its tokens have not expired by then.
	ResumeWindow time.Duration
	// ApprovalAhead is how long before a renewal the node requests approval; at most half of what
	// HeadStart returns. It must be longer than a request can take. Zero means that no approval is
	// required. ApprovalGrace is how long sessions are renewed while your back end does not answer.
	// This time begins when one token lifetime has passed since the last approval.
	ApprovalAhead, ApprovalGrace time.Duration
	// CertificateSpread is the time over which the node, after a change of the signing certificate,
	// renews the sessions with tokens of older certificates; 0 to MaxLifetime.
	CertificateSpread time.Duration
}

// Terms returns the terms of a session that the request j opens now. The error is an *Error.
func (p *Policy) Terms(j *Join, now Instant) (Terms, error) {
	g := &j.Caller.Grant
	ttl, err := g.GrantedTTL(j.TTL, p, now.Sec())
	if err != nil {
		return Terms{}, err
	}
	if ttl < p.MinTTL || ttl > p.MaxTTL {
		return Terms{}, Errorf(CodeBadRequest, "ttl: want %d to %d seconds, have %d",
			p.MinTTL/time.Second, p.MaxTTL/time.Second, ttl/time.Second)
	}
	format, err := p.Format(j.Format, g, j.Identity)
	if err != nil {
		return Terms{}, err
	}
	t := Terms{TTL: ttl, Until: now.Sec().Add(p.MaxSession), MayPublish: g.Allows(Publisher), Format: format}
	if g.Until != 0 {
		t.Until = min(t.Until, g.Until)
	}
	return t, nil
}

// Check returns an error that names the first setting with an invalid value.
func (p *Policy) Check() error {
	switch {
	case p.MinTTL < 3*time.Second:
		// Tokens live up to a second less than their TTL, since expiries are rounded down to whole
		// seconds. With a TTL of 2 s they could live for 1 s, and be due for renewal 1 s before
		// they expire, which is at once.
		return errors.New("min-ttl: want at least 3s, since shorter tokens would be due for renewal at once")
	case p.MaxTTL < p.MinTTL || p.MaxTTL > MaxLifetime:
		return fmt.Errorf("max-ttl: want min-ttl (%s) to %s, Agora's limit; have %s", p.MinTTL, MaxLifetime, p.MaxTTL)
	case p.TTL < p.MinTTL || p.TTL > p.MaxTTL:
		return fmt.Errorf("token-ttl: want min-ttl to max-ttl (%s to %s); have %s", p.MinTTL, p.MaxTTL, p.TTL)
	case p.TTL%time.Second != 0 || p.MinTTL%time.Second != 0 || p.MaxTTL%time.Second != 0:
		return fmt.Errorf("token-ttl, min-ttl, max-ttl: want whole seconds, as Agora counts; have %s, %s, %s", p.TTL, p.MinTTL, p.MaxTTL)
	case p.MaxSession < p.MinTTL:
		return fmt.Errorf("max-session: want at least min-ttl (%s); have %s", p.MinTTL, p.MaxSession)
	case p.RenewBefore < 0 || p.RenewBefore%time.Second != 0:
		return fmt.Errorf("renew-before: want whole seconds, or 0 for a tenth of the ttl; have %s", p.RenewBefore)
	case p.AckTimeout < 100*time.Millisecond:
		return fmt.Errorf("ack-timeout: want at least 100ms; have %s", p.AckTimeout)
	case p.ResumeWindow < 0:
		return fmt.Errorf("resume-window: want 0 or more; have %s", p.ResumeWindow)
	case p.ApprovalGrace < 0:
		return fmt.Errorf("authorize-grace: want 0 or more; have %s", p.ApprovalGrace)
	case p.CertificateSpread < 0 || p.CertificateSpread > MaxLifetime:
		return fmt.Errorf("certificate-spread: want 0 to %s; have %s", MaxLifetime, p.CertificateSpread)
	}
	return nil
}

// HeadStart returns how long before their expiry tokens with the lifetime ttl are renewed, in whole
// seconds. The renewals of a session are up to Jitter earlier.
func (p *Policy) HeadStart(ttl time.Duration) time.Duration {
	d := p.RenewBefore
	if d == 0 {
		d = min(max(ttl/10, minRenewBefore), maxRenewBefore)
	}
	return min(d, ttl/2).Truncate(time.Second)
}

// fraction maps a session id to a number in [0, 1), which is the same on every node. When renewals
// are spread over a time, this number decides at which point of that time the session is renewed.
func fraction(id string) float64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return float64(h.Sum64()>>11) / (1 << 53)
}

// Jitter returns how much earlier than HeadStart says a session is renewed: between 0 and half of
// renewBefore, derived from the session's id. So sessions that were joined together are not all
// renewed at the same time.
func Jitter(id string, renewBefore time.Duration) time.Duration {
	return time.Duration(fraction(id) * float64(renewBefore/2))
}

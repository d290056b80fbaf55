package session

import "fmt"

// maxEpoch bounds the epochs and versions of a record, since Lua in Redis counts exactly only up to
// 2^53.
const maxEpoch = 1 << 52

// Check returns an error if a record from the store contains values that no node writes. With such
// values the session could not be renewed, or calculations with its times would overflow. The error
// contains numbers, but no names of users or channels.
func (r *Record) Check() error {
	switch {
	case r.Session == "" || r.App == "":
		return fmt.Errorf("record: want a session and an app")
	case r.Identity == Identity{}:
		return fmt.Errorf("record: want a service to make tokens for")
	case r.Terms.TTL <= 0 || r.Terms.TTL > MaxLifetime:
		return fmt.Errorf("record: ttl %s: want up to %s", r.Terms.TTL, MaxLifetime)
	case r.Epoch > maxEpoch || r.Proven > maxEpoch || r.Seq > MaxSeq || r.HeldSeq > MaxSeq:
		return fmt.Errorf("record: epoch %d, proven %d, seq %d, %d: too high", r.Epoch, r.Proven, r.Seq, r.HeldSeq)
	}
	for _, unix := range []UnixSec{
		r.Terms.Until, r.ExpiresAt, r.HeldExpiresAt, r.IssuedAt, r.AckedAt, r.ApprovedAt, r.DetachedAt.Sec(),
	} {
		if err := unix.Check(); err != nil {
			return fmt.Errorf("record: a time of %d: %w", unix, err)
		}
	}
	return nil
}

// Fits reports whether two resume keys belong to the same session: their project, subject and users
// must be equal. The role may differ, since an operator can change it.
func (k *ResumeClaims) Fits(other *ResumeClaims) bool {
	return k.Session == other.Session && k.App == other.App && k.Subject == other.Subject && k.Identity.sameUsers(&other.Identity)
}

// sameUsers reports whether two identities are equal. It ignores the RTC role.
func (id *Identity) sameUsers(other *Identity) bool {
	if a, b := id.RTC, other.RTC; (a == nil) != (b == nil) || a != nil && (a.Channel != b.Channel || a.UID != b.UID || a.Account != b.Account) {
		return false
	}
	return sameUser(id.RTM, other.RTM) && sameUser(id.Chat, other.Chat)
}

func sameUser[U comparable](a, b *U) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

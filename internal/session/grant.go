package session

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Caller is what a request's credential says. The zero value permits nothing.
type Caller struct {
	// App is the App ID of the credential's project.
	App string
	// Subject is the credential's subject; empty if it has none.
	Subject string
	// Admin permits listing and changing all sessions of the project.
	Admin bool
	// ExpiresAt is when the credential expires; 0 if no credential is required.
	ExpiresAt UnixSec
	Grant     Grant
}

// Grant says which tokens a credential permits. The zero value permits none. Each list contains
// names and patterns. A pattern ends in * and matches all names that begin with the text before the
// *. An empty list permits no name.
type Grant struct {
	// All permits every token. It is set if the service runs without credentials.
	All bool

	Channels []string
	// UIDs contains uids in decimal. A pattern in Accounts does not match an account that is also a
	// uid.
	UIDs     []string
	Accounts []string
	Roles    []Role
	RTMUsers []string
	Chat     []string

	// MaxTTL is the maximum lifetime of tokens; zero means unlimited.
	MaxTTL time.Duration
	// Until is the second at which all tokens must have expired; 0 means unlimited.
	Until UnixSec
	// Format is the token format for requests that name none. If it is nil, the operator's default
	// applies.
	Format *Format
}

// Covers returns an *Error unless the grant permits the whole identity. The error names the field
// that is not permitted, but not what the grant would permit.
func (g *Grant) Covers(id Identity) error {
	if g.All {
		return nil
	}
	if r := id.RTC; r != nil {
		field := "rtc.uid"
		if r.Account != "" {
			field = "rtc.account"
		}
		switch {
		case !coversChannel(g.Channels, r.Channel):
			return notGranted("rtc.channel")
		case !g.coversUser(r):
			return notGranted(field)
		case !g.Allows(r.Role):
			return notGranted("rtc.role")
		}
	}
	if r := id.RTM; r != nil && !covers(g.RTMUsers, r.UserID) {
		return notGranted("rtm.userId")
	}
	if c := id.Chat; c != nil && (c.UserID == "" || !covers(g.Chat, c.UserID)) {
		return notGranted("chat.userId")
	}
	return nil
}

// Allows reports whether the grant permits a role.
func (g *Grant) Allows(r Role) bool { return g.All || slices.Contains(g.Roles, r) }

func notGranted(field string) *Error {
	return Errorf(CodeForbidden, "%s: the credential does not grant this", field)
}

// coversUser reports whether the grant permits an RTC user. A token for the account "1001" is the
// same as a token for uid 1001. So both are permitted by a matching entry of UIDs, or by the full
// name in Accounts. Patterns in Accounts do not match uids.
func (g *Grant) coversUser(r *RTC) bool {
	switch {
	case r.Account == "" && r.UID == 0: // the token works for every uid, so only the grant of uid 0 permits it
		return covers(g.UIDs, "0")
	case r.Account == "" || isUID(r.Account):
		return covers(g.UIDs, r.User()) || slices.Contains(g.Accounts, r.User())
	}
	return covers(g.Accounts, r.Account)
}

// isUID reports whether an account has the form of a uid in a token: a decimal number. "0" does not
// have this form, since a token for uid 0, Agora's wildcard, contains an empty name.
func isUID(account string) bool {
	n, err := strconv.ParseUint(account, 10, 32)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == account
}

// coversChannel reports whether one of the patterns matches the channel. For AnyChannel, only the
// pattern "*" counts: "**" does not match it.
func coversChannel(patterns []string, channel string) bool {
	if channel == AnyChannel {
		return slices.Contains(patterns, AnyChannel)
	}
	return covers(patterns, channel)
}

// covers reports whether one of the patterns matches name.
func covers(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if prefix, open := strings.CutSuffix(p, "*"); open {
			return strings.HasPrefix(name, prefix)
		}
		return p == name
	})
}

// GrantedTTL returns the lifetime of tokens for a caller who requests ttl; 0 requests the
// operator's default. The error is an *Error if the grant permits only a shorter lifetime, or has
// expired.
func (g *Grant) GrantedTTL(ttl time.Duration, p *Policy, now UnixSec) (time.Duration, error) {
	most := p.MaxTTL
	if g.MaxTTL > 0 {
		most = min(most, g.MaxTTL)
	}
	switch {
	case g.Until != 0 && g.Until <= now:
		return 0, Errorf(CodeForbidden, "the time that the credential grants is over")
	case ttl == 0:
		ttl = min(p.TTL, most)
	case ttl > most && most < p.MaxTTL:
		return 0, Errorf(CodeForbidden, "ttl: the credential grants %d seconds at most", most/time.Second)
	}
	return ttl, nil
}

package session

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Caller is what a request's credential says. The zero value is permitted nothing.
type Caller struct {
	// App is the App ID of the credential's project.
	App string
	// Subject is the credential's subject; empty if it has none.
	Subject string
	// Admin permits listing and changing all sessions of the project.
	Admin bool
	// ExpiresAt is when its credential expires; 0 if it needs none.
	ExpiresAt UnixSec
	Grant     Grant
}

// Grant says which tokens a credential permits. The zero value permits none. The lists
// hold names and patterns: a pattern ends in * and matches all names that begin with the
// rest of it. An empty list permits nothing of its kind.
type Grant struct {
	// All permits every token. It is set if the service requires no credentials.
	All bool

	Channels []string
	UIDs     []string // in decimal
	Accounts []string // a pattern does not match an account that is also a uid
	Roles    []Role
	RTMUsers []string
	Chat     []string

	// MaxTTL bounds the lifetime of tokens; zero does not.
	MaxTTL time.Duration
	// Until is the second after which no token may work; 0 if there is none.
	Until UnixSec
	// Format is the token format for requests that name none; nil leaves it to the
	// operator.
	Format *Format
}

// Covers returns an *Error unless the grant permits the whole identity. The error names the
// field that is not permitted. It does not say what the grant does permit.
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

// coversUser reports whether the grant permits an RTC user. A token for the account "1001"
// is the same as one for uid 1001, so a request for either is permitted by a matching entry
// of UIDs, or by the full name in Accounts. Patterns in Accounts do not match uids.
func (g *Grant) coversUser(r *RTC) bool {
	switch {
	case r.Account == "" && r.UID == 0: // any uid
		return covers(g.UIDs, "0")
	case r.Account == "" || isUID(r.Account):
		return covers(g.UIDs, r.User()) || slices.Contains(g.Accounts, r.User())
	}
	return covers(g.Accounts, r.Account)
}

// isUID reports whether an account is a uid in decimal, as tokens contain it. "0" is not:
// for uid 0, Agora's wildcard, a token contains an empty name.
func isUID(account string) bool {
	n, err := strconv.ParseUint(account, 10, 32)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == account
}

// coversChannel is covers, except that only the pattern "*" grants AnyChannel: "**" does
// not.
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

// GrantedTTL returns the lifetime of tokens for which a caller requests ttl, or the
// operator's default if ttl is 0. The error is an *Error if the grant permits only a shorter
// lifetime, or is over.
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

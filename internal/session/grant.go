package session

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Caller is who asks for something, as far as its credential shows. The zero
// value may do nothing.
type Caller struct {
	// App is the App ID of the project that it belongs to.
	App string
	// Subject names it within the project; empty for one without a name.
	Subject string
	// Admin: it may see and change the sessions of its project.
	Admin bool
	// ExpiresAt is when its credential expires; 0 if it needs none.
	ExpiresAt UnixSec
	Grant     Grant
}

// Grant is which tokens its holder may have. The zero value is none. Lists hold
// names, each of which stands for itself or, with * at its end, for all that
// begin so; one that is empty grants nothing of its kind.
type Grant struct {
	// All grants every token: no credentials are asked for.
	All bool

	Channels []string
	UIDs     []string // in decimal
	Accounts []string // a pattern does not stand for an account that is a uid
	Roles    []Role
	RTMUsers []string
	Chat     []string

	// MaxTTL bounds the lifetime of tokens; zero does not.
	MaxTTL time.Duration
	// Until is the second that no token outlives; zero is none.
	Until UnixSec
	// Format is the form of its holder's tokens where the request names none; nil
	// is the operator's default.
	Format *Format
}

// Covers refuses, with an *Error, an identity that is not granted in full. It says
// what was asked for in vain, not what there is.
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

// Allows reports whether a role is granted.
func (g *Grant) Allows(r Role) bool { return g.All || slices.Contains(g.Roles, r) }

func notGranted(field string) *Error {
	return Errorf(CodeForbidden, "%s: the credential does not grant this", field)
}

// coversUser reports whether an RTC user is granted. The token for the account "1001" is
// that for uid 1001, so whichever of them is asked for, a uid that is granted counts, and
// of the accounts only the name in full: no pattern of accounts stands for a uid.
func (g *Grant) coversUser(r *RTC) bool {
	switch {
	case r.Account == "" && r.UID == 0: // any uid
		return covers(g.UIDs, "0")
	case r.Account == "" || isUID(r.Account):
		return covers(g.UIDs, r.User()) || slices.Contains(g.Accounts, r.User())
	}
	return covers(g.Accounts, r.Account)
}

// isUID reports whether an account is a uid in decimal, as tokens have it. 0 is none:
// Agora's wildcard is another name in a token.
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

// covers reports whether one of the patterns stands for name.
func covers(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if prefix, open := strings.CutSuffix(p, "*"); open {
			return strings.HasPrefix(name, prefix)
		}
		return p == name
	})
}

// GrantedTTL is how long tokens are to live that a caller wants for ttl, zero for
// what the operator has set: within what the operator, the grant and its end
// allow. A wish for more is refused, with an *Error.
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

package session

import (
	"strings"
	"testing"
	"time"
)

// A token for the account "1001" is the same as a token for uid 1001, so a grant of all accounts
// must not permit it.
func TestAccountOfDigits(t *testing.T) {
	for _, c := range []struct {
		accounts, uids []string
		user           RTC
		covered        bool
	}{
		{[]string{"*"}, nil, RTC{Account: "1001"}, false},
		{[]string{"1001*"}, nil, RTC{Account: "1001"}, false},
		{[]string{"*"}, nil, RTC{Account: "4294967295"}, false},
		{[]string{"*"}, nil, RTC{UID: 1001}, false},
		{[]string{"*"}, []string{"7"}, RTC{Account: "1001"}, false},
		{[]string{"1001"}, nil, RTC{Account: "1001"}, true}, // a grant of the account's full name permits the token
		{[]string{"1001"}, nil, RTC{UID: 1001}, true},
		{nil, []string{"1001"}, RTC{Account: "1001"}, true}, // a grant of the uid permits the token, since a token for the uid is the same
		{nil, []string{"10*"}, RTC{Account: "1001"}, true},
		{nil, []string{"1002"}, RTC{UID: 1001}, false},
		// These accounts are not uids, so their tokens differ from those of all uids.
		{[]string{"*"}, nil, RTC{Account: "01001"}, true},
		{[]string{"*"}, nil, RTC{Account: "4294967296"}, true},
		{[]string{"*"}, nil, RTC{Account: "+7"}, true},
		{[]string{"*"}, nil, RTC{Account: "7a"}, true},
		{[]string{"*"}, nil, RTC{Account: "0"}, true}, // the grant permits the account "0", but agora.Validate refuses it
		{nil, []string{"*"}, RTC{Account: "ana"}, false},
		{nil, []string{"*"}, RTC{Account: "01001"}, false},
		// A token for uid 0 works for every uid, so only an entry of UIDs that matches 0 permits it.
		{nil, []string{"0"}, RTC{}, true},
		{nil, []string{"*"}, RTC{}, true},
		{[]string{"*", "0"}, []string{"1*", "1001"}, RTC{}, false},
	} {
		c.user.Channel = "daily"
		g := Grant{Channels: []string{"daily"}, UIDs: c.uids, Accounts: c.accounts, Roles: []Role{Subscriber}}
		err := g.Covers(Identity{RTC: &c.user})
		check(t, (err == nil) == c.covered, "accounts %q, uids %q, requested %+v: %v", c.accounts, c.uids, c.user, err)
		field := map[bool]string{true: "rtc.account", false: "rtc.uid"}[c.user.Account != ""]
		check(t, err == nil || strings.Contains(err.Error(), field), "%+v: %v", c.user, err)
	}
}

// Only a grant of "*" permits the wildcard channel, since its token works in every channel.
func TestWildcardChannelWantsAGrantOfItsOwn(t *testing.T) {
	wildcard, daily := &RTC{Channel: AnyChannel, UID: 7}, &RTC{Channel: "daily-1", UID: 7}
	for _, c := range []struct {
		channels []string
		rtc      *RTC
		covered  bool
	}{
		{[]string{"*"}, wildcard, true},
		{[]string{"daily-*"}, daily, true},
		{[]string{"daily-*"}, wildcard, false},
		{[]string{"**"}, wildcard, false},
	} {
		g := Grant{Channels: c.channels, UIDs: []string{"7"}, Roles: []Role{Subscriber}}
		err := g.Covers(Identity{RTC: c.rtc})
		check(t, (err == nil) == c.covered, "channels %q, requested %q: %v", c.channels, c.rtc.Channel, err)
	}
	must(t, anybody.Grant.Covers(Identity{RTC: wildcard}))
}

// A lifetime is permitted up to the lowest of all limits, inclusive.
func TestLifetimeOfAGrant(t *testing.T) {
	p := testPolicy()
	for _, c := range []struct {
		grant   Grant
		ttl     time.Duration
		want    time.Duration
		refused bool
	}{
		{Grant{}, 0, p.TTL, false},
		{Grant{}, 2 * p.TTL, 2 * p.TTL, false},
		{Grant{MaxTTL: time.Minute}, 0, time.Minute, false},
		{Grant{MaxTTL: time.Minute}, time.Minute, time.Minute, false},
		{Grant{MaxTTL: time.Minute}, time.Minute + time.Second, 0, true},
		{Grant{Until: 1000}, 0, 0, true},
		{Grant{Until: 1001}, 0, p.TTL, false},
	} {
		got, err := c.grant.GrantedTTL(c.ttl, &p, 1000)
		check(t, got == c.want && (err != nil) == c.refused, "%+v, %s: %s, %v; want %s", c.grant, c.ttl, got, err, c.want)
	}
}

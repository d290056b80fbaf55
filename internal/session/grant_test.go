package session

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// A token for the account "1001" is the same as a token for uid 1001, so a grant of all accounts
// must not permit it.
func TestAccountOfDigits(t *testing.T) {
	for _, c := range []struct {
		accounts, uids []string
		account        string
		covered        bool
	}{
		{[]string{"*"}, nil, "1001", false},
		{[]string{"1*"}, nil, "1001", false},
		{[]string{"1001*"}, nil, "1001", false},
		{[]string{"*"}, nil, "4294967295", false},
		{[]string{"*"}, []string{"7"}, "1001", false},
		{[]string{"ana", "1001"}, nil, "1001", true}, // the account's full name permits it
		{nil, []string{"1001"}, "1001", true},        // the uid permits it, since the token is the same
		{nil, []string{"10*"}, "1001", true},
		{[]string{"*"}, []string{"*"}, "1001", true},
		{nil, []string{"1002"}, "1001", false},
		// These accounts are not uids, so their tokens differ from those of all uids.
		{[]string{"*"}, nil, "ana", true},
		{[]string{"*"}, nil, "01001", true},
		{[]string{"*"}, nil, "4294967296", true},
		{[]string{"*"}, nil, "+7", true},
		{[]string{"*"}, nil, "7a", true},
		{[]string{"*"}, nil, "0", true}, // the grant permits the account "0", but agora.Validate refuses it
		{[]string{"*", "0"}, []string{"1*"}, "0", true},
		{nil, []string{"*"}, "ana", false},
		{nil, []string{"*"}, "01001", false},
	} {
		g := Grant{Channels: []string{"daily"}, UIDs: c.uids, Accounts: c.accounts, Roles: []Role{Subscriber}}
		err := g.Covers(Identity{RTC: &RTC{Channel: "daily", Account: c.account}})
		if (err == nil) != c.covered || err != nil && !strings.HasPrefix(err.Error(), "forbidden: rtc.account: ") {
			t.Errorf("accounts %q, uids %q, asked for %q: %v", c.accounts, c.uids, c.account, err)
		}
		if n, err := strconv.ParseUint(c.account, 10, 32); err == nil && n > 0 && c.account[0] != '0' && c.account[0] != '+' {
			if err := g.Covers(Identity{RTC: &RTC{Channel: "daily", UID: uint32(n)}}); (err == nil) != c.covered {
				t.Errorf("accounts %q, uids %q, asked for uid %d: %v", c.accounts, c.uids, n, err)
			}
		}
	}
}

// A token for uid 0 works for every uid, so only a grant of "0" permits it.
func TestAnyUserWantsAGrantOfItsOwn(t *testing.T) {
	for _, c := range []struct {
		accounts, uids []string
		covered        bool
	}{
		{nil, []string{"0"}, true}, {nil, []string{"*"}, true}, {[]string{"*", "0"}, []string{"1*", "1001"}, false},
	} {
		g := Grant{Channels: []string{"daily"}, UIDs: c.uids, Accounts: c.accounts, Roles: []Role{Subscriber}}
		err := g.Covers(Identity{RTC: &RTC{Channel: "daily"}})
		check(t, (err == nil) == c.covered, "accounts %q, uids %q: %v", c.accounts, c.uids, err)
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
		{[]string{"daily-*", "*"}, wildcard, true},
		{[]string{"*"}, daily, true},
		{[]string{"daily-*"}, daily, true},
		{[]string{"daily-*"}, wildcard, false},
		{[]string{"daily-1"}, wildcard, false},
		{[]string{"**"}, wildcard, false},
		{nil, wildcard, false},
	} {
		g := Grant{Channels: c.channels, UIDs: []string{"7"}, Roles: []Role{Subscriber}}
		if err := g.Covers(Identity{RTC: c.rtc}); (err == nil) != c.covered {
			t.Errorf("channels %q, asked for %q: %v", c.channels, c.rtc.Channel, err)
		}
	}
	if err := (&Grant{All: true}).Covers(Identity{RTC: wildcard}); err != nil {
		t.Errorf("without credentials: %v", err)
	}
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

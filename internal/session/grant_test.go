package session

import "testing"

// Only a grant of "*" itself covers the wildcard channel, whose token works in every
// channel.
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

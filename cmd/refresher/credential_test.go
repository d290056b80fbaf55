package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

func TestGrant(t *testing.T) {
	now := time.Date(2026, 11, 24, 2, 44, 14, 0, time.UTC)
	single := session.FormatSingle
	for line, want := range map[string]session.Caller{
		"--jwt-secret=x":                               {},
		"--token-format=007-single":                    {Grant: session.Grant{Format: &single}},
		"--subject=ana --app-id=" + appID + " --admin": {App: appID, Subject: "ana", Admin: true},
		"--channels=daily-*,weekly --uids=1001,10*": {
			Grant: session.Grant{Channels: []string{"daily-*", "weekly"}, UIDs: []string{"1001", "10*"}, Roles: []session.Role{session.Subscriber}},
		},
		"--channels=c --accounts=ana --roles=publisher,subscriber": {
			Grant: session.Grant{Channels: []string{"c"}, Accounts: []string{"ana"}, Roles: []session.Role{session.Publisher, session.Subscriber}},
		},
		"--rtm-users=ana,bob --chat-users=* --max-ttl=10m --until=2099-01-02t15:04:05z": {
			Grant: session.Grant{RTMUsers: []string{"ana", "bob"}, Chat: []string{"*"}, MaxTTL: 10 * time.Minute, Until: 4071049445},
		},
		"--until=8h": {Grant: session.Grant{Until: session.SecOf(now.Add(8 * time.Hour))}},
	} {
		var c grantCommand
		if err := parse(t, &c, strings.Fields(line)...); err != nil {
			t.Fatal(err)
		}
		got, err := c.caller(now)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%q: %v, %s", line, err, diff)
		}
	}
}

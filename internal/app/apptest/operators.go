package apptest

import (
	"testing"
	"time"

	"refresher/internal/access/credential"
	"refresher/internal/session"
)

// CredentialFor makes a credential that grants all tokens. If admin is true, the credential also has the scope "admin".
func CredentialFor(t *testing.T, subject string, admin bool) string {
	t.Helper()
	everything := []string{"*"}
	text, err := credential.Grant(credential.GrantConfig{
		Secret: OperatorSecret, TTL: 30 * 24 * time.Hour,
		Caller: session.Caller{Subject: subject, Admin: admin, Grant: session.Grant{
			Channels: everything, UIDs: everything, Accounts: everything, RTMUsers: everything, Chat: everything,
			Roles: []session.Role{session.Publisher, session.Subscriber},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

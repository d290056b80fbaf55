package access

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestRules(t *testing.T) {
	local, open := Port{"127.0.0.1:8080", true}, Port{":8080", false}
	for name, c := range map[string]struct {
		rules    Rules
		projects int
		port     Port
		want     string // part of the error
	}{
		"jwt":                              {Rules{Auth: "jwt"}, 2, open, ""},
		"none, on this machine":            {Rules{Auth: "none"}, 1, local, ""},
		"none, for everybody":              {Rules{Auth: "none"}, 1, open, "auth: none on :8080 would give"},
		"none, for everybody, as accepted": {Rules{Auth: "none", Insecure: true}, 1, open, ""},
		"none, for two projects":           {Rules{Auth: "none"}, 2, local, "auth: none works with one project only"},
		"another word":                     {Rules{Auth: "ldap"}, 1, local, `auth: want "jwt" or "none"; have "ldap"`},
		"no credential to be in a path":    {Rules{Auth: "none", CredentialInPath: true}, 1, local, "credential-in-path: "},
		"a credential in a path":           {Rules{Auth: "jwt", CredentialInPath: true}, 1, local, ""},
		"headers of nobody":                {Rules{Auth: "jwt", ProxyProtocol: true}, 1, local, "proxy-protocol: "},
		"headers of a proxy":               {Rules{Auth: "jwt", ProxyProtocol: true, TrustedProxies: []string{"10.0.0.0/8"}}, 1, local, ""},
		"a proxy that is no address":       {Rules{Auth: "jwt", TrustedProxies: []string{"proxy"}}, 1, local, "trusted-proxies: "},
		"a negative rate of addresses":     {Rules{Auth: "jwt", AddressRate: -1}, 1, local, "address-rate: want 0"},
		"a negative rate of subjects":      {Rules{Auth: "jwt", SubjectRate: -1}, 1, local, "subject-rate: want 0"},
	} {
		projects := append(projects, projects[0])[:c.projects]
		_, err := New(Config{Rules: c.rules, Port: c.port, Projects: projects, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// With auth "none", callers from other machines cannot change other users' sessions.
func TestCallersWithoutCredentials(t *testing.T) {
	for rules, local := range map[*Rules]bool{{Auth: "none"}: true, {Auth: "none", Insecure: true}: false} {
		if c := rules.anybody("app"); rules.LocalOnly() != local || c.Admin != local || !c.Grant.All || c.App != "app" {
			t.Errorf("%+v: %+v", rules, c)
		}
	}
	if jwt := (&Rules{Auth: "jwt"}); jwt.LocalOnly() {
		t.Error("with credentials only this machine is served")
	}
}

package access

import (
	"errors"
	"fmt"

	"refresher/internal/session"
)

// Rules are the operator's settings about callers. Errors about a setting name its flag.
type Rules struct {
	// Auth is how callers authenticate. With "jwt", they need a credential signed with a project's key. With "none",
	// every caller may have every token, and the node serves only one project. "none" is refused if other machines can
	// reach the public port, unless Insecure is set.
	Auth     string
	Insecure bool
	// CredentialInPath makes the endpoints of the classic token servers also accept credentials in the URL path, for
	// apps that cannot send a header.
	CredentialInPath bool
	// AddressRate is how many requests a second one address may make. SubjectRate is how many requests a second all
	// holders of credentials with one subject may make together. 0 means unlimited.
	AddressRate, SubjectRate float64
	// TrustedProxies are the addresses and networks of proxies whose forwarding headers are
	// believed. With ProxyProtocol, each connection from a proxy begins with a PROXY header
	// that contains the client's address.
	TrustedProxies []string
	ProxyProtocol  bool
}

// check returns an error if the rules contradict each other, or do not fit the number of
// projects or the public port.
func (r *Rules) check(projects int, public Port) error {
	none := r.Auth == "none"
	switch {
	case !none && r.Auth != "jwt":
		return fmt.Errorf(`auth: want "jwt" or "none"; have %q`, r.Auth)
	case none && projects > 1:
		return errors.New("auth: none works with one project only, since credentials name the project")
	case none && !public.Local && !r.Insecure:
		return fmt.Errorf("auth: none on %s would give any token to anyone on the network; use --auth=jwt, listen on 127.0.0.1, or add --insecure", public.Address)
	case none && r.CredentialInPath:
		return errors.New("credential-in-path: has no effect with auth=none; want one of them")
	case r.ProxyProtocol && len(r.TrustedProxies) == 0:
		return errors.New("proxy-protocol: set without trusted-proxies; want the proxies whose headers are trusted")
	}
	return nil
}

// LocalOnly reports whether the node serves only requests whose Host is a name of this machine, such as localhost. With
// auth "none", this check keeps out web pages of other sites, which could otherwise reach the node by DNS rebinding.
func (r *Rules) LocalOnly() bool { return r.Auth == "none" && !r.Insecure }

// anybody returns the caller for every request with auth "none". If other machines can reach the node (Insecure), the
// caller is not an admin, because an admin can change other users' sessions.
func (r *Rules) anybody(app string) session.Caller {
	return session.Caller{App: app, Admin: !r.Insecure, Grant: session.Grant{All: true}}
}

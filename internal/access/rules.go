package access

import (
	"errors"
	"fmt"

	"refresher/internal/session"
)

// Rules are what the operator decides about callers. The names in errors are those of the
// flags.
type Rules struct {
	// Auth is how callers prove who they are: "jwt", by credentials that are signed with
	// the projects' keys, or "none", which lets anybody have any token of the one project.
	// "none" is refused where other machines can reach the public port, unless Insecure.
	Auth     string
	Insecure bool
	// CredentialInPath makes the classic endpoints take credentials in their paths too, for
	// apps that cannot send a header.
	CredentialInPath bool
	// AddressRate and SubjectRate are how many requests a second an address and the holder
	// of a credential may make; 0 is unlimited.
	AddressRate, SubjectRate float64
	// TrustedProxies are the networks of the proxies that say which address a client has.
	// With ProxyProtocol, their connections begin with a PROXY header that names it.
	TrustedProxies []string
	ProxyProtocol  bool
}

// check returns what is wrong with the rules for a node that serves so many projects.
func (r *Rules) check(projects int, public Port) error {
	none := r.Auth == "none"
	switch {
	case !none && r.Auth != "jwt":
		return fmt.Errorf(`auth: want "jwt" or "none"; have %q`, r.Auth)
	case none && projects > 1:
		return errors.New("auth: none does for one project only: credentials say which one is meant")
	case none && !public.Local && !r.Insecure:
		return fmt.Errorf("auth: none on %s would give anybody on the network any token; check credentials with --auth=jwt, listen on 127.0.0.1, or accept it with --insecure", public.Address)
	case none && r.CredentialInPath:
		return errors.New("credential-in-path: set with auth=none, where no credential is looked at")
	case r.ProxyProtocol && len(r.TrustedProxies) == 0:
		return errors.New("proxy-protocol: set without trusted-proxies, which say whose header counts")
	}
	return nil
}

// LocalOnly reports whether only requests that are addressed to this machine by a name of
// its own are served. Others come from web pages, which may be anybody's.
func (r *Rules) LocalOnly() bool { return r.Auth == "none" && !r.Insecure }

// anybody returns the one caller of Auth "none". Callers from other machines may not change
// others' calls.
func (r *Rules) anybody(app string) session.Caller {
	return session.Caller{App: app, Admin: !r.Insecure, Grant: session.Grant{All: true}}
}

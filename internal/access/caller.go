package access

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"time"

	"refresher/internal/session"
)

// ClientAddr returns the address of the client who made a request, as far as trusted
// proxies vouch for it.
func (a *Access) ClientAddr(r *http.Request) netip.Addr { return a.proxies.ClientAddr(r) }

// TrustsProxy reports whether a peer is a trusted proxy.
func (a *Access) TrustsProxy(peer net.Addr) bool { return a.proxies.Trusts(peer) }

// Admit takes one request from what an address may make, and returns how long the client
// has to wait; 0 admits it now.
func (a *Access) Admit(from netip.Addr) (wait time.Duration) {
	_, wait = a.addresses.AllowAddr(from)
	return wait
}

// Authenticate says who shows a credential; empty is none. The error has a *session.Error;
// with CodeRateLimited and RetryAfter, the credential is good and its holder asks too
// often. Holders without a name count as one. It may wait 2 s for a key that is fetched.
func (a *Access) Authenticate(ctx context.Context, credential string) (session.Caller, error) {
	if a.verifier == nil {
		return a.anybody, nil
	}
	c, err := a.verifier.Verify(ctx, credential)
	if err != nil {
		return session.Caller{}, err
	}
	if a.revocations.Revoked(&session.ResumeClaims{App: c.App, Subject: c.Subject}) {
		return session.Caller{}, session.ErrRevoked
	}
	if ok, wait := a.subjects.Allow(c.App + " " + c.Subject); !ok {
		return session.Caller{}, &session.Error{
			Code: session.CodeRateLimited, Message: "too many requests; see Retry-After", RetryAfter: wait,
		}
	}
	return c, nil
}

package access

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"time"

	"refresher/internal/session"
)

// ClientAddr returns the address of the client that made a request. It believes the
// X-Forwarded-For and Forwarded headers only of trusted proxies.
func (a *Access) ClientAddr(r *http.Request) netip.Addr { return a.proxies.ClientAddr(r) }

// TrustsProxy reports whether the peer of a connection is a trusted proxy.
func (a *Access) TrustsProxy(peer net.Addr) bool { return a.proxies.Trusts(peer) }

// RateLimit counts one request from a client address. It returns how long the client must wait before it retries; 0
// admits the request now.
func (a *Access) RateLimit(from netip.Addr) (wait time.Duration) {
	_, wait = a.addresses.AllowAddr(from)
	return wait
}

// Authenticate verifies a credential and returns the caller whom it names. An empty string means that the client sent
// no credential. The error is a *session.Error. CodeRateLimited with RetryAfter means that the credential is valid but
// its subject exceeds --subject-rate; all credentials without a subject share one rate. Authenticate may wait up to 2 s
// while the project's keys are fetched.
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

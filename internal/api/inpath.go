package api

import (
	"net/http"
	"net/url"
	"time"

	"refresher/internal/session"
)

// pathWord begins the path of a request that has its credential in there:
// /with/CREDENTIAL/rtc/…
const pathWord = "with"

// pathLife is how long a credential may still be good that comes in a path. Paths
// are in the access logs of proxies and in the histories of browsers, so what is
// found there later is to be worth nothing. 30 s are for clocks that differ.
const pathLife = time.Hour + 30*time.Second

// takeCredential takes the credential out of the path of a request that has one
// there. Whatever comes after it, such as a log line, sees a request without it.
func (r *request) takeCredential(answer http.Header) error {
	if len(r.path) < 2 || r.path[0] != pathWord {
		return nil
	}
	r.inPath, r.credential = true, r.path[1]
	r.path = withoutDoubledSlash(r.path[2:])
	scrubbed := r.WithContext(r.Context()) // a shallow copy
	scrubbed.URL = &url.URL{Path: "/", RawQuery: r.URL.RawQuery}
	scrubbed.RequestURI = scrubbed.URL.RequestURI()
	r.Request = scrubbed
	// The address is a secret: browsers are to keep it to themselves.
	answer.Set("Referrer-Policy", "no-referrer")
	notCached(answer)
	if r.Header.Get("Authorization") != "" {
		return session.Errorf(session.CodeBadRequest, "Authorization: given along with a credential in the path; want one of them")
	}
	return nil
}

// mayBeInPath refuses a credential that is worth too much for a path.
func mayBeInPath(c *session.Caller) error {
	switch left := time.Until(time.Unix(c.ExpiresAt, 0)); {
	case c.Admin:
		return session.Errorf(session.CodeForbidden, `a credential with the scope "admin" is not taken from a path; send it as Authorization: Bearer`)
	case left > pathLife:
		return session.Errorf(session.CodeForbidden, "a credential in a path must expire within an hour (exp), since paths end up in logs; send it as Authorization: Bearer, or fetch one that lives shorter")
	}
	return nil
}

// notCached keeps an answer with tokens out of caches, as the classic servers do.
func notCached(answer http.Header) {
	answer.Set("Cache-Control", "private, no-cache, no-store, must-revalidate")
	answer.Set("Expires", "-1")
	answer.Set("Pragma", "no-cache")
}

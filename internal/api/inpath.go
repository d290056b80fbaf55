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

// pathLife is the longest remaining lifetime of a credential that is taken from a path.
// Paths are in the access logs of proxies and in the histories of browsers, and a
// credential that is read there later should have expired. 30 s allow for clocks that
// differ.
const pathLife = time.Hour + 30*time.Second

// takeCredential moves the credential of a /with/ request from its path to r.credential.
// Later code, including log lines and errors, gets a request without it.
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
	// The address holds the credential: browsers must not send it as a Referer.
	answer.Set("Referrer-Policy", "no-referrer")
	notCached(answer)
	if r.Header.Get("Authorization") != "" {
		return session.Errorf(session.CodeBadRequest, "Authorization: given along with a credential in the path; want one of them")
	}
	return nil
}

// mayBeInPath refuses credentials that would do too much harm if a path were logged:
// those with the scope "admin", and those that outlive pathLife.
func mayBeInPath(c *session.Caller) error {
	switch left := time.Until(c.ExpiresAt.Time()); {
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

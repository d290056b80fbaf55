package api

import (
	"net/http"
	"net/url"
	"time"

	"refresher/internal/session"
)

// pathWord is the first part of a path that contains the credential: /with/CREDENTIAL/rtc/…
const pathWord = "with"

// pathLife is the longest remaining lifetime of a credential in a path. Paths end up in access
// logs of proxies and in browser histories; a credential found there later should have expired.
// The 30 s allow for clock skew.
const pathLife = time.Hour + 30*time.Second

// takeCredential moves the credential of a request to /with/… from the path to r.credential, so that
// later code cannot write the credential into a log line or an error.
func (r *request) takeCredential(answer http.Header) error {
	if len(r.path) < 2 || r.path[0] != pathWord {
		return nil
	}
	r.inPath, r.credential = true, r.path[1]
	r.path = withoutDoubledSlash(r.path[2:])
	scrubbed := r.WithContext(r.Context()) // WithContext copies the request, so the caller's request keeps its URL
	scrubbed.URL = &url.URL{Path: "/", RawQuery: r.URL.RawQuery}
	scrubbed.RequestURI = scrubbed.URL.RequestURI()
	r.Request = scrubbed
	// The URL contains the credential, so browsers must not send it as a Referer.
	answer.Set("Referrer-Policy", "no-referrer")
	notCached(answer)
	if r.Header.Get("Authorization") != "" {
		return session.Errorf(session.CodeBadRequest, "Authorization: given along with a credential in the path; want one of them")
	}
	return nil
}

// mayBeInPath refuses a credential that is too powerful for a path, since paths are logged: a credential with the scope
// "admin", or one that is valid for longer than pathLife.
func mayBeInPath(c *session.Caller) error {
	switch left := time.Until(c.ExpiresAt.Time()); {
	case c.Admin:
		return session.Errorf(session.CodeForbidden, `a credential with the scope "admin" is not accepted in a path; send it as Authorization: Bearer`)
	case left > pathLife:
		return session.Errorf(session.CodeForbidden, "a credential in a path must expire within an hour (exp), since paths end up in logs; send it as Authorization: Bearer, or fetch one that expires sooner")
	}
	return nil
}

// notCached keeps an answer out of caches. It sets the same headers as the classic token servers.
func notCached(answer http.Header) {
	answer.Set("Cache-Control", "private, no-cache, no-store, must-revalidate")
	answer.Set("Expires", "-1")
	answer.Set("Pragma", "no-cache")
}

package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"refresher/internal/session"
)

// ServeHTTP implements http.Handler. It does not use http.ServeMux: a channel may have the name "." or "..", and
// ServeMux would redirect a path with such a part to another path.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, began := &counted{ResponseWriter: w, route: "other"}, time.Now()
	defer func() { a.metrics.answered(c, time.Since(began)) }()
	body := limitBody(w, r)
	parts, err := split(r.URL)
	path, inside := a.underBase(parts)
	if inside {
		path = withoutDoubledSlash(path)
	}
	webSocket := inside && len(path) == 2 && path[0] == "v1" && path[1] == "ws"
	handshake := webSocket && r.Header.Get("Upgrade") != "" // the WebSocket handler checks the origin itself
	allowed := handshake || a.cors(c, r)
	switch {
	case a.config.Origins.Misdirected(r):
		a.write(c, http.StatusMisdirectedRequest, problem{
			"without credentials only localhost is served; see --auth and --insecure",
			session.CodeForbidden, http.StatusMisdirectedRequest,
		})
		return
	case !allowed && a.config.Origins.LocalOnly() && !safe(r.Method):
		// With LocalOnly the node checks no credentials. Without this case, any web page that is open on this machine
		// could therefore change calls, even if the page cannot read the answer.
		a.fail(c, session.Errorf(session.CodeForbidden, "pages of this origin may not change anything; allow it with --allowed-origins"))
		return
	case err != nil:
		a.fail(c, err)
		return
	case handshake:
		a.config.WebSocket.ServeHTTP(w, r)
		return
	case webSocket && !allowed:
		a.fail(c, session.Errorf(session.CodeForbidden, "pages of this origin may not connect; allow it with --allowed-origins"))
		return
	case webSocket:
		c.Header().Set("Upgrade", "websocket")
		a.write(c, http.StatusUpgradeRequired, problem{
			"this is the WebSocket's address; connect to it by a WebSocket client (ws:// or wss://), through proxies that pass the Upgrade header on",
			session.CodeBadRequest, http.StatusUpgradeRequired,
		})
		return
	}
	q := &request{Request: r, body: body, path: path, credential: bearer(r)}
	if inside && a.config.CredentialInPath {
		if err := q.takeCredential(c.Header()); err != nil {
			a.fail(c, err)
			return
		}
		r = q.Request
	}
	var methods []string
	for _, route := range a.routes {
		args, ok := match(route.path, q.path)
		if !ok || !inside && route.open != probes || q.inPath && route.open != callers {
			continue
		}
		methods = append(methods, route.method)
		if r.Method == route.method || r.Method == http.MethodHead && route.method == http.MethodGet {
			c.route, q.args = route.label(), args
			a.answer(c, q, &route)
			return
		}
	}
	switch {
	case methods != nil && r.Method == http.MethodOptions:
		preflight(c, methods)
	case isPreflight(r): // the path is unknown; the preflight still succeeds, since otherwise the page could not read the 404 that answers its request
		preflight(c, []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete})
	case methods != nil:
		c.Header().Set("Allow", strings.Join(append(methods, http.MethodOptions), ", "))
		a.write(c, http.StatusMethodNotAllowed, problem{"method not allowed; want " + strings.Join(methods, " or "), session.CodeBadRequest, http.StatusMethodNotAllowed})
	case !inside:
		a.write(c, http.StatusNotFound, problem{
			"no such endpoint; by --base-path this service is under " + a.config.BasePath + "/", session.CodeBadRequest, http.StatusNotFound,
		})
	case q.inPath:
		a.write(c, http.StatusNotFound, problem{"no endpoint that takes a credential in its path", session.CodeBadRequest, http.StatusNotFound})
	case a.config.Page != nil && r.URL.Path == a.config.BasePath && a.base != nil:
		// At a URL without the final slash, the page's relative links would lead to paths outside BasePath.
		http.Redirect(w, r, a.config.BasePath+"/", http.StatusPermanentRedirect)
	case a.config.Page != nil:
		a.config.Page.ServeHTTP(w, r)
	default:
		a.write(c, http.StatusNotFound, problem{"no such endpoint", session.CodeBadRequest, http.StatusNotFound})
	}
}

// underBase removes BasePath from the parts of a path. The result `inside` is false if the path does not begin with
// BasePath.
func (a *API) underBase(parts []string) (rest []string, inside bool) {
	n := len(a.base)
	switch {
	case len(parts) < n || !slices.Equal(parts[:n], a.base):
		return parts, false
	case len(parts) == n: // the path is BasePath
		return []string{""}, true
	default:
		return parts[n:], true
	}
}

// safe reports whether requests with this HTTP method, such as GET, change nothing.
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// split splits a path into parts and then unescapes each, so that an escaped slash stays in its
// part. A trailing slash is ignored.
func split(u *url.URL) ([]string, error) {
	path := strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		text, err := url.PathUnescape(part)
		if err != nil {
			return nil, session.Errorf(session.CodeBadRequest, "path: not well escaped; write a percent sign as %%25")
		}
		parts[i] = text
	}
	return parts, nil
}

// withoutDoubledSlash removes empty parts at the start of a path, since some apps append /rtc/… to a base URL that
// already ends with a slash. It leaves //v1/… as it is, so that this path reaches no endpoint: it would pass a proxy's
// rule that blocks /v1.
func withoutDoubledSlash(parts []string) []string {
	head := slices.IndexFunc(parts, func(p string) bool { return p != "" })
	if head < 1 || parts[head] == "v1" {
		return parts
	}
	return parts[head:]
}

// parseQuery parses a query. It refuses malformed parameters, which url.URL.Query would silently
// drop, and duplicate ones.
func parseQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, session.Errorf(session.CodeBadRequest, "query: not well formed; write a percent sign as %%25 and a semicolon as %%3B")
	}
	for name, values := range query {
		if len(values) > 1 {
			return nil, session.Errorf(session.CodeBadRequest, "query: has %.32q %d times; give it once", name, len(values))
		}
	}
	return query, nil
}

// match reports whether the parts of a path match a route's pattern. It returns the parts that match the pattern's
// stars.
func match(pattern, parts []string) (args []string, ok bool) {
	if len(pattern) != len(parts) {
		return nil, false
	}
	for i, p := range pattern {
		switch {
		case p == "*":
			args = append(args, parts[i])
		case p != parts[i]:
			return nil, false
		}
	}
	return args, true
}

func (a *API) answer(w http.ResponseWriter, r *request, route *route) {
	notCached(w.Header())
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	err := a.admit(r, route.open)
	var value any
	if err == nil {
		r.query, err = parseQuery(r.URL.RawQuery)
	}
	if err == nil {
		value, err = route.respond(r)
	}
	if err != nil {
		a.fail(w, err)
		return
	}
	a.write(w, http.StatusOK, value)
}

// admit checks the rate limit and the credential that an endpoint for the given audience needs.
// If the credential is valid, it sets r.caller.
func (a *API) admit(r *request, to audience) error {
	if to == probes {
		return nil
	}
	if wait := a.config.Access.RateLimit(a.config.Access.ClientAddr(r.Request)); wait > 0 {
		return &session.Error{Code: session.CodeRateLimited, Message: "too many requests; see Retry-After", RetryAfter: wait}
	}
	if to == anybody {
		return nil
	}
	var err error
	if r.caller, err = a.config.Access.Authenticate(r.Context(), r.credential); err != nil {
		return err
	}
	if r.inPath {
		if err := mayBeInPath(&r.caller); err != nil {
			return err
		}
	}
	if to == admins && !r.caller.Admin {
		return session.Errorf(session.CodeForbidden, `the credential lacks the scope "admin"`)
	}
	return nil
}

// bearer returns the credential in the Authorization header; empty if there is none.
func bearer(r *http.Request) string {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(credential)
}

// cors reports whether the request's origin is allowed, and sets the CORS headers if it is. Answers
// with errors have the headers, too: otherwise a page would learn only that its request was blocked.
func (a *API) cors(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	from := r.Header.Get("Origin")
	if !a.config.Origins.Allows(r) {
		return false
	}
	if from != "" {
		h.Set("Access-Control-Allow-Origin", from)
		h.Set("Access-Control-Expose-Headers", "Retry-After") // browsers hide other headers from pages of other origins
	}
	return true
}

// isPreflight reports whether r is a CORS preflight.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers a CORS preflight. If the origin is allowed, the method cors has already set
// Access-Control-Allow-Origin. The header X-Requested-With is allowed because Agora's web samples send it.
func preflight(w http.ResponseWriter, allowed []string) {
	if h := w.Header(); h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", strings.Join(append(allowed, http.MethodOptions), ", "))
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Requested-With")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

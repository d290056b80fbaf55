package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/agora"
	"refresher/internal/origin"
	"refresher/internal/protocol"
	"refresher/internal/rotation"
	"refresher/internal/session"
	"refresher/internal/store"
)

// Minter makes the tokens of the classic endpoints. It is safe for concurrent
// use.
type Minter interface {
	// Mint makes a token of the project app for each service of id, valid
	// from issuedAt to expiresAt. A *session.Error says that
	// id breaks one of Agora's rules.
	Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error)
	// MintStream makes an RTM token of u that also opens stream channels: c is the
	// channel and u in it. Errors are Mint's.
	MintStream(app string, c session.RTC, u session.RTM, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error)
	// MintChatApp makes the application's own Chat token, for back ends.
	MintChatApp(app string, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error)
}

// Access decides who may have what. It is safe for concurrent use.
type Access interface {
	// Authenticate says who shows a credential; empty is none. The error is a
	// *session.Error.
	Authenticate(ctx context.Context, credential string) (session.Caller, error)
	// Admit returns how long a client at an address must wait; 0 admits it now.
	Admit(from netip.Addr) (wait time.Duration)
	// ClientAddr returns the address of the client who made a request, behind the
	// proxies that are trusted.
	ClientAddr(r *http.Request) netip.Addr
	// Decide says whether a caller may have tokens now. It may wait for the customer's
	// back end.
	Decide(ctx context.Context, r session.Request) session.Decision
}

// Renewer renews a session against its key.
type Renewer interface {
	// Open refuses a key that is no good as far as the node knows, without asking
	// the store. Its errors are those of RenewByKey.
	Open(r *session.Resume) error
	RenewByKey(context.Context, session.Resume) (session.Push, error)
}

// Config is what an API needs. All fields are required unless they say
// otherwise.
type Config struct {
	Minter  Minter
	Renewer Renewer
	Access  Access
	// Sessions, Wishes and Revocations are what operators see and change. An error of
	// Sessions that is no *session.Error says that the store cannot be
	// reached.
	Sessions    store.Lister
	Wishes      Wishes
	Revocations Revocations
	Cursors     Cursors
	// Certificates returns what depends on the App Certificates of a project. An error
	// says that the store cannot be reached.
	Certificates func(ctx context.Context, app string) (rotation.Report, error)
	// Inspect says what is in a token of a project, and what is wrong with it for a use.
	Inspect func(token string, u agora.Use) agora.Report
	// Policy says how long tokens may live.
	Policy  session.Policy
	Origins *origin.Checker
	// LocalOnly takes only requests addressed to this machine by a name of
	// its own; others, from web pages that found their way here, get 421.
	LocalOnly  bool
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// WebSocket serves /v1/ws.
	WebSocket http.Handler
	// Ready reports whether the node takes calls, for the health checks of load
	// balancers.
	Ready func() bool
	// BasePath is the path that every endpoint is under, such as "/refresher":
	// with a slash before and none at the end. Empty: they are at the root.
	BasePath string
	// CredentialInPath has the classic endpoints take a credential in the path, too:
	// /with/CREDENTIAL/rtc/…, for apps that cannot send a header.
	CredentialInPath bool
	// Page serves everything under BasePath that is not an endpoint. May be nil.
	Page http.Handler
}

// API is the public HTTP handler. It is safe for concurrent use.
type API struct {
	config  Config
	base    []string // the parts of BasePath
	routes  []route
	metrics *metrics
}

// maxBody is the longest request body that is read, in bytes.
const maxBody = 8 << 10

// New makes an API.
func New(c Config) (*API, error) {
	if c.Minter == nil || c.Renewer == nil || c.Access == nil || c.Sessions == nil || c.Wishes == nil || c.Revocations == nil || c.Cursors == nil || c.Inspect == nil || c.Certificates == nil || c.Logger == nil || c.Registerer == nil || c.WebSocket == nil || c.Ready == nil || c.Origins == nil {
		return nil, errors.New("api: Minter, Renewer, Access, Sessions, Wishes, Revocations, Cursors, Inspect, Certificates, Logger, Registerer, WebSocket, Ready and Origins are required")
	}
	a := &API{config: c, metrics: newMetrics(c.Registerer)}
	if c.BasePath != "" {
		a.base = strings.Split(strings.TrimPrefix(c.BasePath, "/"), "/")
		if c.Page != nil {
			a.config.Page = http.StripPrefix(c.BasePath, c.Page)
		}
	}
	a.routes = []route{
		{probes, http.MethodGet, []string{""}, a.ready},
		{probes, http.MethodGet, []string{"ping"}, ping},
		{callers, http.MethodGet, []string{"rtc", "*", "*", "*", "*"}, a.rtc},
		{callers, http.MethodGet, []string{"rtm", "*"}, a.rtm},
		{callers, http.MethodGet, []string{"rte", "*", "*", "*", "*"}, a.rte},
		{callers, http.MethodGet, []string{"rte", "*", "*", "*", "*", "*"}, a.rte},
		{callers, http.MethodGet, []string{"chat", "app"}, a.chatApp},
		{callers, http.MethodGet, []string{"chat", "account", "*"}, a.chatAccount},
		{callers, http.MethodPost, []string{"getToken"}, a.getToken},
		{callers, http.MethodPost, []string{"fetch_rtc_token"}, a.fetchRTCToken},
		{callers, http.MethodPost, []string{"fetch_rtc_token_string"}, a.fetchRTCToken},
		{callers, http.MethodPost, []string{"fetch_rtm_token"}, a.fetchRTMToken},
		{callers, http.MethodGet, []string{"access_token"}, a.accessToken},
		{callers, http.MethodGet, []string{"rtcToken"}, a.rtcKey},
		{callers, http.MethodGet, []string{"rtmToken"}, a.rtmKey},
		{callers, http.MethodGet, []string{"chat", "app", "token"}, a.chatAppText},
		{callers, http.MethodGet, []string{"chat", "user", "*", "token"}, a.chatUserText},

		{anybody, http.MethodPost, []string{"v1", "sessions", "*", "renew"}, a.renew}, // its key is what counts

		{admins, http.MethodGet, []string{"v1", "sessions"}, a.listSessions},
		{admins, http.MethodGet, []string{"v1", "sessions", "*"}, a.showSession},
		{admins, http.MethodPatch, []string{"v1", "sessions", "*"}, a.changeSession},
		{admins, http.MethodDelete, []string{"v1", "sessions", "*"}, a.endSession},
		{admins, http.MethodPost, []string{"v1", "revocations"}, a.revoke},
		{admins, http.MethodGet, []string{"v1", "revocations"}, a.listRevocations},
		{admins, http.MethodGet, []string{"v1", "revocations", "*"}, a.showRevocation},
		{admins, http.MethodDelete, []string{"v1", "revocations", "*"}, a.liftRevocation},
		{admins, http.MethodGet, []string{"v1", "certificates"}, a.certificates},
		{admins, http.MethodPost, []string{"v1", "tokens", "inspect"}, a.inspect},
	}
	if c.Page != nil {
		a.routes = a.routes[1:] // the page is at the root
	}
	return a, nil
}

// request is an HTTP request to an endpoint.
type request struct {
	*http.Request
	path   []string       // its parts, under BasePath
	args   []string       // the variable ones of them
	query  url.Values     // each parameter once
	caller session.Caller // nobody, where anybody may come

	credential string // of the caller; empty: none
	inPath     bool   // it was in the path
}

// endpoint answers one kind of request. The value is sent as JSON.
type endpoint func(r *request) (any, error)

// access says who may use an endpoint.
type access uint8

const (
	// probes is for health checks of load balancers: without a credential, not
	// rate-limited, and at the root even if there is a BasePath.
	probes access = iota
	anybody
	callers // those with a credential, each for what it grants
	admins
)

// route is a path and its methods. In a path, * stands for one part.
type route struct {
	access  access
	method  string
	path    []string
	respond endpoint
}

// ServeHTTP implements http.Handler. It splits paths itself, because
// http.ServeMux would redirect what it thinks unclean, and a channel may be
// named "." or "..".
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, began := &counted{ResponseWriter: w, route: "other"}, time.Now()
	defer func() { a.metrics.answered(c, time.Since(began)) }()
	limitBody(w, r)
	if a.config.LocalOnly && !origin.AddressesLoopback(r.Host) {
		a.write(c, http.StatusMisdirectedRequest, problem{
			"without credentials only localhost is served; see --auth and --insecure",
			session.CodeForbidden, http.StatusMisdirectedRequest,
		})
		return
	}
	if a.config.LocalOnly && !safe(r.Method) && !a.config.Origins.Allows(r) {
		// Where no credential is needed, any page that somebody here looks at
		// could change calls without reading the answer.
		a.fail(c, session.Errorf(session.CodeForbidden, "pages of this origin may not change anything; allow it with --allowed-origins"))
		return
	}
	parts, err := split(r.URL)
	if err != nil {
		a.fail(c, err)
		return
	}
	path, inside := a.underBase(parts)
	if inside {
		path = withoutDoubledSlash(path)
	}
	if inside && len(path) == 2 && path[0] == "v1" && path[1] == "ws" {
		a.config.WebSocket.ServeHTTP(w, r)
		return
	}
	q := &request{Request: r, path: path, credential: bearer(r)}
	if inside && a.config.CredentialInPath {
		if err := q.takeCredential(c.Header()); err != nil {
			a.fail(c, err)
			return
		}
		r = q.Request
	}
	var allowed []string
	for _, route := range a.routes {
		args, ok := match(route.path, q.path)
		if !ok || !inside && route.access != probes || q.inPath && route.access != callers {
			continue
		}
		allowed = append(allowed, route.method)
		if r.Method == route.method || r.Method == http.MethodHead && route.method == http.MethodGet {
			c.route, q.args = route.label(), args
			a.answer(c, q, &route)
			return
		}
	}
	switch {
	case allowed != nil && r.Method == http.MethodOptions:
		a.preflight(c, r, allowed)
	case allowed != nil:
		c.Header().Set("Allow", strings.Join(append(allowed, http.MethodOptions), ", "))
		a.write(c, http.StatusMethodNotAllowed, problem{"method not allowed; want " + strings.Join(allowed, " or "), session.CodeBadRequest, http.StatusMethodNotAllowed})
	case !inside:
		a.write(c, http.StatusNotFound, problem{
			"no such endpoint; by --base-path this service is under " + a.config.BasePath + "/", session.CodeBadRequest, http.StatusNotFound,
		})
	case q.inPath:
		a.write(c, http.StatusNotFound, problem{"no endpoint that takes a credential in its path", session.CodeBadRequest, http.StatusNotFound})
	case a.config.Page != nil && r.URL.Path == a.config.BasePath && a.base != nil:
		http.Redirect(w, r, a.config.BasePath+"/", http.StatusPermanentRedirect) // the page's links are relative
	case a.config.Page != nil:
		a.config.Page.ServeHTTP(w, r)
	default:
		a.write(c, http.StatusNotFound, problem{"no such endpoint", session.CodeBadRequest, http.StatusNotFound})
	}
}

// underBase cuts BasePath off the parts of a path. Paths that are not under it are
// left as they are.
func (a *API) underBase(parts []string) (rest []string, inside bool) {
	n := len(a.base)
	switch {
	case len(parts) < n || !slices.Equal(parts[:n], a.base):
		return parts, false
	case len(parts) == n: // BasePath itself is its own root
		return []string{""}, true
	default:
		return parts[n:], true
	}
}

// safe reports whether requests by a method change nothing.
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// split cuts a path into its parts, each unescaped by itself, so that an
// escaped slash stays within its part. One slash at the end is ignored.
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

// withoutDoubledSlash drops the empty parts at the head of a classic endpoint's path:
// apps append /rtc/… to a base URL that ends in a slash. Paths under /v1 are taken as
// they are, so that a proxy's rule for /v1 is not evaded.
func withoutDoubledSlash(parts []string) []string {
	head := slices.IndexFunc(parts, func(p string) bool { return p != "" })
	if head < 1 || parts[head] == "v1" {
		return parts
	}
	return parts[head:]
}

// parseQuery reads the parameters of a query. It refuses what url.URL.Query drops in
// silence, and a parameter that is given twice: the request would be answered as if it
// asked for something else.
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

// match reports whether parts fit pattern, and what stands for its stars.
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
	if a.cors(w, r.Request) {
		w.Header().Set("Access-Control-Expose-Headers", "Retry-After") // else browsers keep it from pages of other origins
	}
	notCached(w.Header())
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	err := a.admit(r, route.access)
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

// admit lets a request in, or says why not.
func (a *API) admit(r *request, to access) error {
	if to == probes {
		return nil
	}
	if wait := a.config.Access.Admit(a.config.Access.ClientAddr(r.Request)); wait > 0 {
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

// asRefusal is what of err is meant for callers, if anything is.
func asRefusal(err error) (*session.Error, bool) { return errors.AsType[*session.Error](err) }

// bearer is the credential in a request's Authorization header, or nothing.
func bearer(r *http.Request) string {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(credential)
}

// problem is the body of a refusal.
type problem struct {
	Error  string       `json:"error"`
	Code   session.Code `json:"code"`
	Status int          `json:"status"`
}

// gone is a problem with what an ended message says.
type gone struct {
	problem

	Reason       session.EndReason `json:"reason"`
	AccessEndsAt session.UnixSec   `json:"accessEndsAt"` // 0: not known
}

// fail answers err: what is meant for the client as it is, anything else as an
// internal error whose cause stays in the log.
func (a *API) fail(w http.ResponseWriter, err error) {
	var ended *session.EndedError
	var refused *session.Error
	var unsaved *unsavedError
	switch {
	case errors.As(err, &ended):
		a.write(w, http.StatusGone, gone{
			problem{ended.Error(), session.CodeUnknownSession, http.StatusGone}, ended.Reason, ended.AccessEndsAt,
		})
	case errors.As(err, &refused):
		status := protocol.StatusForError(refused.Code)
		if refused.RetryAfter > 0 { // in whole seconds, and not too early
			w.Header().Set("Retry-After", strconv.FormatInt(int64((refused.RetryAfter+time.Second-1)/time.Second), 10))
		}
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		a.write(w, status, problem{refused.Message, refused.Code, status})
	case errors.As(err, &unsaved):
		a.write(w, http.StatusServiceUnavailable, unsaved)
	default:
		a.config.Logger.Error("request failed", "error", err)
		a.write(w, http.StatusInternalServerError, problem{"the server failed; try again", session.CodeInternal, http.StatusInternalServerError})
	}
}

func (a *API) write(w http.ResponseWriter, status int, value any) {
	kind := "application/json; charset=utf-8"
	body, err := json.Marshal(value)
	if err != nil {
		a.config.Logger.Error("encode answer", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"the server failed; try again","code":"internal","status":500}`)
	}
	if text, plain := value.(plainText); plain {
		kind, body = "text/plain; charset=utf-8", []byte(text)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		a.config.Logger.Debug("answer not delivered", "error", err)
	}
}

// cors lets pages of allowed origins read the answer.
func (a *API) cors(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Add("Vary", "Origin")
	from := r.Header.Get("Origin")
	if from == "" || !a.config.Origins.Allows(r) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", from)
	return true
}

// preflight answers the question that a browser asks before a request with
// headers of its own. X-Requested-With is what Agora's web samples send.
func (a *API) preflight(w http.ResponseWriter, r *http.Request, allowed []string) {
	if a.cors(w, r) {
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", strings.Join(append(allowed, http.MethodOptions), ", "))
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Requested-With")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

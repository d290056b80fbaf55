package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/agora"
	"refresher/internal/origin"
	"refresher/internal/rotation"
	"refresher/internal/session"
	"refresher/internal/store"
)

// Minter mints the tokens of the classic endpoints. It is safe for concurrent use.
type Minter interface {
	// Mint makes a token of project app for each service in id, valid from issuedAt to
	// expiresAt. A *session.Error means that id breaks one of Agora's rules.
	Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error)
	// MintStream makes an RTM token for u that also grants access to stream channels, as the
	// RTC user c. It returns the same errors as Mint.
	MintStream(app string, c session.RTC, u session.RTM, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error)
	// MintChatApp makes Chat's app token, with which back ends call Chat's API.
	MintChatApp(app string, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error)
}

// Access authenticates and authorizes requests, and limits their rates. It is safe for
// concurrent use.
type Access interface {
	// Authenticate returns the caller whom the credential names. An empty string means that
	// the request has none. The error is a *session.Error.
	Authenticate(ctx context.Context, credential string) (session.Caller, error)
	// RateLimit returns how long a client at an address must wait; 0 admits it now.
	RateLimit(from netip.Addr) (wait time.Duration)
	// ClientAddr returns the address of the client that made a request, behind trusted
	// proxies.
	ClientAddr(r *http.Request) netip.Addr
	// Authorize decides whether a caller may have tokens now. It may wait for the back end's
	// approval.
	Authorize(ctx context.Context, r session.Request) session.Decision
}

// Clients serves clients without a WebSocket, which authenticate with their resume key.
type Clients interface {
	// Open checks a resume key as far as this node can without I/O. It returns the same
	// errors as RenewByKey.
	Open(r *session.Resume) error
	// RenewByKey mints new tokens. A *session.EndedError means that the session has ended, or
	// that there is a newer resume key.
	RenewByKey(context.Context, session.Resume) (session.Push, error)
	// LeaveByKey ends the session. It returns the same errors as RenewByKey.
	LeaveByKey(context.Context, session.Resume) error
}

// Config configures an API. Fields are required unless their comment says otherwise.
type Config struct {
	Minter  Minter
	Clients Clients
	Access  Access
	// Sessions, Wishes (an operator's changes of a session) and Revocations are the data that operators see and change.
	// An error of Sessions that is not a *session.Error means that the store cannot be reached.
	Sessions    store.Lister
	Wishes      Wishes
	Revocations Revocations
	Cursors     Cursors
	// Certificates reports which tokens depend on each App Certificate of a project. An error
	// means that the store cannot be reached.
	Certificates func(ctx context.Context, app string) (rotation.Report, error)
	// Inspect decodes a token of a project and reports what makes it unusable for u.
	Inspect func(token string, u agora.Use) agora.Report
	// Policy has the limits and the default of token lifetimes.
	Policy     session.Policy
	Origins    *origin.Checker
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// WebSocket serves /v1/ws.
	WebSocket http.Handler
	// Ready reports whether the node accepts sessions, for load balancers' health checks.
	Ready func() bool
	// BasePath is the path prefix of every endpoint, such as "/refresher". With "" or "/"
	// the endpoints are at the root.
	BasePath string
	// CredentialInPath makes the classic endpoints accept a credential in the path,
	// /with/CREDENTIAL/rtc/…, for apps that cannot send a header.
	CredentialInPath bool
	// Page serves all paths under BasePath that are not endpoints. It may be nil.
	Page http.Handler
}

// basePath allows no escapes, no empty parts, and no parts that begin with a dot, so that proxies
// and clients pass such a path on unchanged.
var basePath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$`)

// API is the public HTTP handler. It is safe for concurrent use.
type API struct {
	config  Config
	base    []string // BasePath, split at its slashes
	routes  []route
	metrics *metrics
}

// maxBody is the longest request body that is read, in bytes.
const maxBody = 8 << 10

// New returns an API. The error says which setting is wrong.
func New(c Config) (*API, error) {
	if !basePath.MatchString(c.BasePath) {
		return nil, fmt.Errorf(`base-path: want a path such as "/refresher", of letters, digits and -._~; have %q`, c.BasePath)
	}
	c.BasePath = strings.TrimSuffix(c.BasePath, "/")
	a := &API{config: c, metrics: newMetrics(c.Registerer)}
	if c.BasePath != "" {
		a.base = strings.Split(strings.TrimPrefix(c.BasePath, "/"), "/")
		if c.Page != nil {
			a.config.Page = http.StripPrefix(c.BasePath, c.Page)
		}
	}
	classic, operators := &classic{&a.config}, &operators{&a.config}
	a.routes = []route{
		{probes, http.MethodGet, []string{""}, a.ready},
		{probes, http.MethodGet, []string{"ping"}, ping},
		{callers, http.MethodGet, []string{"rtc", "*", "*", "*", "*"}, classic.rtc},
		{callers, http.MethodGet, []string{"rtm", "*"}, classic.rtm},
		{callers, http.MethodGet, []string{"rte", "*", "*", "*", "*"}, classic.rte},
		{callers, http.MethodGet, []string{"rte", "*", "*", "*", "*", "*"}, classic.rte},
		{callers, http.MethodGet, []string{"chat", "app"}, classic.chatApp},
		{callers, http.MethodGet, []string{"chat", "account", "*"}, classic.chatAccount},
		{callers, http.MethodPost, []string{"getToken"}, classic.getToken},
		{callers, http.MethodPost, []string{"fetch_rtc_token"}, classic.fetchRTCToken},
		{callers, http.MethodPost, []string{"fetch_rtc_token_string"}, classic.fetchRTCToken},
		{callers, http.MethodPost, []string{"fetch_rtm_token"}, classic.fetchRTMToken},
		{callers, http.MethodGet, []string{"access_token"}, classic.accessToken},
		{callers, http.MethodGet, []string{"rtcToken"}, classic.rtcKey},
		{callers, http.MethodGet, []string{"rtmToken"}, classic.rtmKey},
		{callers, http.MethodGet, []string{"chat", "app", "token"}, classic.chatAppText},
		{callers, http.MethodGet, []string{"chat", "user", "*", "token"}, classic.chatUserText},

		// The handlers of these routes check the session's resume key instead of a credential.
		{anybody, http.MethodPost, []string{"v1", "sessions", "*", "renew"}, a.renew},
		{anybody, http.MethodPost, []string{"v1", "sessions", "*", "leave"}, a.leave},

		{admins, http.MethodGet, []string{"v1", "sessions"}, operators.listSessions},
		{admins, http.MethodGet, []string{"v1", "sessions", "*"}, operators.showSession},
		{admins, http.MethodPatch, []string{"v1", "sessions", "*"}, operators.changeSession},
		{admins, http.MethodDelete, []string{"v1", "sessions", "*"}, operators.endSession},
		{admins, http.MethodPost, []string{"v1", "revocations"}, operators.revoke},
		{admins, http.MethodGet, []string{"v1", "revocations"}, operators.listRevocations},
		{admins, http.MethodGet, []string{"v1", "revocations", "*"}, operators.showRevocation},
		{admins, http.MethodDelete, []string{"v1", "revocations", "*"}, operators.liftRevocation},
		{admins, http.MethodGet, []string{"v1", "certificates"}, operators.certificates},
		{admins, http.MethodPost, []string{"v1", "tokens", "inspect"}, operators.inspect},
	}
	if c.Page != nil {
		a.routes = a.routes[1:] // Page serves "/", so the readiness endpoint there is removed
	}
	return a, nil
}

// request is an HTTP request to an endpoint.
type request struct {
	*http.Request
	body   *body          // nil if there is none
	path   []string       // the parts of the path after BasePath
	args   []string       // the parts that match a star in the route
	query  url.Values     // each parameter has one value
	caller session.Caller // zero if the route needs no credential

	credential string // empty if there is none
	inPath     bool   // the credential was in the path
}

// endpoint answers one kind of request. The value is sent as JSON, unless it is a plainText or
// noContent.
type endpoint func(r *request) (any, error)

// audience says which callers may use an endpoint.
type audience uint8

const (
	// probes are the health checks of load balancers. They need no credential, have no rate limit, and are at the root
	// even if there is a BasePath.
	probes  audience = iota
	anybody          // no credential is needed
	callers          // a credential is needed; its grants limit the tokens
	admins           // a credential with the scope "admin" is needed
)

// route is a method and a path. A star in the path matches any one part.
type route struct {
	open    audience
	method  string
	path    []string
	respond endpoint
}

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

// Minter mints tokens for the endpoints of the classic token servers. It is safe for concurrent use.
type Minter interface {
	// Mint makes a token of the project `app` for each service in id, valid from issuedAt to
	// expiresAt. A *session.Error means that id breaks one of Agora's rules.
	Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error)
	// MintStream makes an RTM token for the user u. With the token, u may also use RTM's stream channels, in which
	// Agora treats u as the RTC user c. MintStream returns the same errors as Mint.
	MintStream(app string, c session.RTC, u session.RTM, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error)
	// MintChatApp makes Chat's app token, with which back ends call Chat's API.
	MintChatApp(app string, cause session.Cause, issuedAt, expiresAt session.UnixSec) (string, error)
}

// Access authenticates and authorizes requests, and limits their rates. It is safe for
// concurrent use.
type Access interface {
	// Authenticate returns the caller whom the credential names. The credential is empty if
	// the request has none. The error is a *session.Error.
	Authenticate(ctx context.Context, credential string) (session.Caller, error)
	// RateLimit returns how long a client at an address must wait; 0 admits the client now.
	RateLimit(from netip.Addr) (wait time.Duration)
	// ClientAddr returns the address of the client that made a request, even if trusted
	// proxies have forwarded the request.
	ClientAddr(r *http.Request) netip.Addr
	// Authorize decides whether a caller may have tokens now. It may wait for the back end's
	// approval.
	Authorize(ctx context.Context, r session.Request) session.Decision
}

// Clients serves clients without a WebSocket, which authenticate with their resume key.
type Clients interface {
	// Open checks a resume key without asking the store or another node. It returns the same
	// errors as RenewByKey.
	Open(r *session.Resume) error
	// RenewByKey mints new tokens. A *session.EndedError means that the session has ended, or that a newer resume key
	// has replaced this one.
	RenewByKey(context.Context, session.Resume) (session.Push, error)
	// LeaveByKey ends the session. It returns the same errors as RenewByKey.
	LeaveByKey(context.Context, session.Resume) error
}

// Config configures an API. Fields are required unless their comment says otherwise.
type Config struct {
	Minter  Minter
	Clients Clients
	Access  Access
	// The operators' endpoints use these fields: Sessions lists sessions, Wishes changes or ends one session, and
	// Revocations manages revocations. If an error of Sessions is not a *session.Error, the store cannot be reached.
	Sessions    store.Lister
	Wishes      Wishes
	Revocations Revocations
	Cursors     Cursors
	// Certificates reports which tokens depend on each App Certificate of a project. An error
	// means that the store cannot be reached.
	Certificates func(ctx context.Context, app string) (rotation.Report, error)
	// Inspect decodes a token and reports why Agora would refuse the token for the use u.
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
	// BasePath is the path prefix of every endpoint, such as "/refresher". If it is "" or "/", the
	// paths have no prefix.
	BasePath string
	// CredentialInPath makes the endpoints of the classic token servers accept a credential in the path,
	// /with/CREDENTIAL/rtc/…, for apps that cannot send a header.
	CredentialInPath bool
	// Page serves all paths under BasePath that are not endpoints. It may be nil.
	Page http.Handler
}

// basePath matches the valid values of BasePath. They have no escapes, no empty parts, and no parts that begin with a
// dot, since some proxies and clients would change such a path.
var basePath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$`)

// API is the public HTTP handler. It is safe for concurrent use.
type API struct {
	config  Config
	base    []string // the parts of BasePath
	routes  []route
	metrics *metrics
}

// maxBody is the largest size of a request body, in bytes.
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
		{callers, http.MethodGet, []string{"rtc", "*", "*", "*", "*"}, renamed(channelAndUID, classic.rtc)},
		{callers, http.MethodGet, []string{"rtm", "*"}, renamed(channelAndUID, classic.rtm)},
		{callers, http.MethodGet, []string{"rte", "*", "*", "*", "*"}, renamed(channelAndUID, classic.rte)},
		{callers, http.MethodGet, []string{"rte", "*", "*", "*", "*", "*"}, renamed(withRTMUser, classic.rte)},
		{callers, http.MethodGet, []string{"chat", "app"}, classic.chatApp},
		{callers, http.MethodGet, []string{"chat", "account", "*"}, renamed(fieldNames{"chat.userId": "id"}, classic.chatAccount)},
		{callers, http.MethodPost, []string{"getToken"}, renamed(channelAndUID, classic.getToken)},
		{callers, http.MethodPost, []string{"fetch_rtc_token"}, renamed(channelNameAndUID, classic.fetchRTCToken)},
		{callers, http.MethodPost, []string{"fetch_rtc_token_string"}, renamed(channelNameAndUID, classic.fetchRTCToken)},
		{callers, http.MethodPost, []string{"fetch_rtm_token"}, renamed(channelAndUID, classic.fetchRTMToken)},
		{callers, http.MethodGet, []string{"access_token"}, classic.accessToken},
		{callers, http.MethodGet, []string{"rtcToken"}, classic.rtcKey},
		{callers, http.MethodGet, []string{"rtmToken"}, renamed(fieldNames{"rtm.userId": "account"}, classic.rtmKey)},
		{callers, http.MethodGet, []string{"chat", "app", "token"}, classic.chatAppText},
		{callers, http.MethodGet, []string{"chat", "user", "*", "token"}, renamed(fieldNames{"chat.userId": "name"}, classic.chatUserText)},

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
		a.routes = a.routes[1:] // remove the health check at "/", since Page serves this path
	}
	return a, nil
}

// request is an HTTP request to an endpoint. Its path consists of the parts after BasePath; args are those parts that
// match a star in the route. Each parameter in query has one value.
type request struct {
	*http.Request
	body   *body
	path   []string
	args   []string
	query  url.Values
	caller session.Caller // zero if the route needs no credential

	credential string
	inPath     bool // whether the credential was in the path
}

// endpoint answers one kind of request. Its result is sent as JSON, unless it is a plainText or
// noContent.
type endpoint func(r *request) (any, error)

// audience says which callers may use an endpoint.
type audience uint8

const (
	// Requests to probes need no credential and have no rate limit, and their paths have no BasePath: they are the
	// health checks of load balancers.
	probes audience = iota
	// Requests to endpoints for anybody need no credential.
	anybody
	// Requests of callers need a credential. Its grants limit the tokens.
	callers
	// Requests of admins need a credential with the scope "admin".
	admins
)

// route assigns an endpoint to an HTTP method and a path. A star in the path matches any one part.
type route struct {
	open    audience
	method  string
	path    []string
	respond endpoint
}

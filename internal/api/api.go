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

// Minter makes the tokens of the classic endpoints. It is safe for concurrent use.
type Minter interface {
	// Mint makes a token of the project app for each service of id, valid from issuedAt to
	// expiresAt. A *session.Error says that id breaks one of Agora's rules.
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

// Clients serves clients that present the resume key of their session, without a connection.
type Clients interface {
	// Open refuses a key that this node knows to be invalid. It does no I/O. Its errors are
	// those of RenewByKey.
	Open(r *session.Resume) error
	// RenewByKey mints fresh tokens. A *session.EndedError says that the session is over,
	// or that the key is not its newest.
	RenewByKey(context.Context, session.Resume) (session.Push, error)
	// LeaveByKey ends the session. Its errors are those of RenewByKey.
	LeaveByKey(context.Context, session.Resume) error
}

// Config is what an API needs. All fields are required unless they say otherwise.
type Config struct {
	Minter  Minter
	Clients Clients
	Access  Access
	// Sessions, Wishes and Revocations are what operators see and change. An error of
	// Sessions that is no *session.Error says that the store cannot be reached.
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
	Policy     session.Policy
	Origins    *origin.Checker
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// WebSocket serves /v1/ws.
	WebSocket http.Handler
	// Ready reports whether the node takes calls, for the health checks of load
	// balancers.
	Ready func() bool
	// BasePath is the path that every endpoint is under, such as "/refresher". Empty or
	// "/": they are at the root.
	BasePath string
	// CredentialInPath lets the classic endpoints take a credential in the path,
	// /with/CREDENTIAL/rtc/…, for apps that cannot send a header.
	CredentialInPath bool
	// Page serves everything under BasePath that is not an endpoint. May be nil.
	Page http.Handler
}

// basePath has no escapes, no empty parts and none that begin with a dot: proxies pass it
// on as it is, and clients do not resolve it.
var basePath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?$`)

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

		{anybody, http.MethodPost, []string{"v1", "sessions", "*", "renew"}, a.renew}, // by its resume key
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
		a.routes = a.routes[1:] // the page is at the root
	}
	return a, nil
}

// request is an HTTP request to an endpoint.
type request struct {
	*http.Request
	body   *body          // nil: none
	path   []string       // its parts, under BasePath
	args   []string       // the parts that stand for a star in the route
	query  url.Values     // each parameter once
	caller session.Caller // zero if the route is open to anybody

	credential string // empty: none
	inPath     bool   // the credential was in the path
}

// endpoint answers one kind of request. The value is sent as JSON, but for a plainText, and
// noContent.
type endpoint func(r *request) (any, error)

// audience says who may use an endpoint.
type audience uint8

const (
	// probes is for health checks of load balancers: without a credential, not
	// rate-limited, and at the root even if there is a BasePath.
	probes audience = iota
	anybody
	callers // those with a credential, each for what it grants
	admins
)

// route is a path and its methods. In a path, * stands for one part.
type route struct {
	open    audience
	method  string
	path    []string
	respond endpoint
}

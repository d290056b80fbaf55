package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"refresher/internal/origin"
)

// Config is what an Endpoint needs. All but Client is required.
type Config struct {
	// Name begins the names of the two flags, "<Name>-url" and "<Name>-secret",
	// in errors.
	Name string
	// URL is where requests go: absolute, http or https, without a fragment. A
	// user and password in it are sent as basic authentication.
	URL string
	// Secret signs requests; at least 16 bytes.
	Secret []byte
	// Connections is how many there are at once, at most.
	Connections int
	// Client makes the requests, in tests; it follows no redirects, whatever
	// it says. Nil means one of the Endpoint's own, which honours the proxy
	// settings of the environment.
	Client *http.Client
}

// Endpoint is one URL of the customer's back end, and the secret shared with
// it. It is safe for concurrent use.
type Endpoint struct {
	name   string
	url    *url.URL
	secret []byte
	client *http.Client
}

// New makes an Endpoint.
func New(c Config) (*Endpoint, error) {
	u, err := parseURL(c.Name+"-url", c.URL)
	if err != nil {
		return nil, err
	}
	if len(c.Secret) < minSecret {
		return nil, fmt.Errorf("%s-secret: want at least %d bytes, have %d", c.Name, minSecret, len(c.Secret))
	}
	client := c.Client
	if client == nil {
		client = &http.Client{Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // answers are short, or not read
			MaxIdleConns:           c.Connections,
			MaxIdleConnsPerHost:    c.Connections,
			MaxConnsPerHost:        c.Connections,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		}}
	}
	// What is signed for one address is not sent to another.
	still := *client
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Endpoint{name: c.Name, url: u, secret: bytes.Clone(c.Secret), client: &still}, nil
}

// Post signs body, which is JSON, and sends it, with header besides, which may
// be nil. The caller closes the response's body; errors of reading that want
// Discreet. Its own error repeats no secret.
func (e *Endpoint) Post(ctx context.Context, body []byte, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, e.Discreet(err)
	}
	span := e.trace(r)
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	maps.Copy(r.Header, header)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "refresher")
	r.Header.Set(HeaderTimestamp, timestamp)
	r.Header.Set(HeaderSignature, sign(e.secret, timestamp, body))
	response, err := e.client.Do(r)
	if err != nil {
		err = e.Discreet(err)
		span.SetStatus(codes.Error, err.Error())
		span.End()
		return nil, err
	}
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	span.End()
	return response, nil
}

// trace begins a span for a request whose context belongs to a trace, and says in
// its headers which, as W3C Trace Context has it. The span ends with the answer's
// headers.
func (e *Endpoint) trace(r *http.Request) trace.Span {
	parent := trace.SpanFromContext(r.Context())
	if !parent.IsRecording() {
		return parent
	}
	ctx, span := parent.TracerProvider().Tracer("refresher/internal/webhook").Start(r.Context(), r.Method,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("server.address", e.url.Hostname()),
			attribute.String("url.path", e.url.Path)))
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	return span
}

// Close lets go of idle connections.
func (e *Endpoint) Close() { e.client.CloseIdleConnections() }

// Location is scheme://host/path of the URL.
func (e *Endpoint) Location() string {
	u := e.url
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// Origin is scheme://host of the URL.
func (e *Endpoint) Origin() string {
	return (&url.URL{Scheme: e.url.Scheme, Host: e.url.Host}).String()
}

// Exposed reports whether requests leave this machine unencrypted.
func (e *Endpoint) Exposed() bool {
	return e.url.Scheme == "http" && !origin.IsLoopback(e.url.Hostname())
}

// Discreet is err without the URL that net/http puts around it. What is left
// names addresses at most, but for texts that come from the receiver, such as
// a malformed Location: one that repeats the URL's user, password or query is
// not shown.
func (e *Endpoint) Discreet(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	text := err.Error()
	password, _ := e.url.User.Password()
	for _, hidden := range []string{e.url.User.String(), password, e.url.RawQuery} {
		if hidden != "" && strings.Contains(text, hidden) {
			return errors.New("not shown, since it repeats the " + e.name + " URL")
		}
	}
	return err
}

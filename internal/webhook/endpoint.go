package webhook

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"refresher/internal/origin"
)

// Config is what an Endpoint needs. All but PreviousSecret and Client is required.
type Config struct {
	// Name begins the names of the flags, "<Name>-url", "<Name>-secret" and
	// "<Name>-previous-secret", in errors.
	Name string
	// URL is where requests go: absolute, http or https, without a fragment. A
	// user and password in it are sent as basic authentication.
	URL string
	// Secret signs requests, and so does PreviousSecret, unless it is empty. Each
	// is "whsec_" and the base64 of 24 to 64 bytes, or a text of at least 24 bytes.
	Secret, PreviousSecret string
	// Connections is how many there are at once, at most.
	Connections int
	// Client makes the requests, in tests; it follows no redirects, whatever
	// it says. Nil means one of the Endpoint's own, which honours the proxy
	// settings of the environment.
	Client *http.Client
}

// Endpoint is one URL of the customer's back end, and the secrets shared with
// it. It is safe for concurrent use.
type Endpoint struct {
	name   string
	url    *url.URL
	signer signer
	client *http.Client
}

// New makes an Endpoint.
func New(c Config) (*Endpoint, error) {
	u, err := parseURL(c.Name+"-url", c.URL)
	if err != nil {
		return nil, err
	}
	signer, err := newSigner(c.Name, c.Secret, c.PreviousSecret)
	if err != nil {
		return nil, err
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
	return &Endpoint{name: c.Name, url: u, signer: signer, client: &still}, nil
}

// Post signs body, which is JSON, and sends it. id tells the back end whether it
// has seen the request before; it must have no dot, which ends it in what is
// signed. The caller closes the response's body; errors of reading that want
// Discreet. Its own error repeats no secret.
func (e *Endpoint) Post(ctx context.Context, id string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.String(), bytes.NewReader(body))
	if err != nil {
		return nil, e.Discreet(err)
	}
	if err := e.signer.sign(r.Header, id, time.Now(), body); err != nil {
		return nil, err
	}
	span := e.trace(r)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "refresher")
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

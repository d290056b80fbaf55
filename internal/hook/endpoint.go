package hook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
	"refresher/internal/panics"
)

// endpoint is one webhook URL of the back end, with its secrets. It is safe for concurrent use.
type endpoint struct {
	name   string // prefix of the flags: "events" or "authorize"
	url    *url.URL
	signer signer
	client *http.Client
	panics *panics.Reporter
	limits limits
}

// limits holds the limits of one endpoint's requests.
type limits struct {
	atOnce  int           // number of concurrent requests
	timeout time.Duration // for one request, from dialling to the end of the answer
	wait    time.Duration // longest Retry-After that is honoured; a longer wait is cut to this one
	answer  int           // number of bytes that are read from the body of an answer
}

// newEndpoint makes an endpoint whose flags are "<name>-url", "<name>-secret" and
// "<name>-previous-secret". It honours the proxy settings of the environment.
func newEndpoint(name string, c *Config, l limits) (*endpoint, error) {
	l.timeout = cmp.Or(c.Timeout, l.timeout)
	u, err := parseURL(name+"-url", c.URL)
	if err != nil {
		return nil, err
	}
	signer, err := newSigner(name, c.Secret, c.PreviousSecret)
	if err != nil {
		return nil, err
	}
	return &endpoint{name: name, url: u, signer: signer, limits: l, panics: c.Panics, client: &http.Client{
		// Following a redirect would send a signed request to an address that is not configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // answers are short, so compression saves nothing
			MaxIdleConns:           l.atOnce,
			MaxIdleConnsPerHost:    l.atOnce,
			MaxConnsPerHost:        l.atOnce,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}}, nil
}

// parseURL parses a flag's value as a URL. Its errors contain neither the value nor an error of net/url,
// since any part of the value may be an unescaped password.
func parseURL(flag, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, fmt.Errorf("%s: want a value such as https://app.example.com/path; special characters in a user, password or query want %%-encoding", flag)
	case strings.Contains(text, "#"):
		return nil, errors.New(flag + ": want no fragment (#)")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, errors.New(flag + ": want a port from 1 to 65535")
		}
	}
	return u, nil
}

// answer is the endpoint's answer to a request.
type answer struct {
	status     int // 0 if there was no answer
	body       []byte
	err        error         // why there is no complete answer; contains no secret
	retryAfter time.Duration // the endpoint's Retry-After; 0 if absent
}

// post signs a JSON body and sends it. The back end recognises a repeated request by its id. The id must not contain a
// dot, because the signed text is "id.timestamp.body". If the request panics, args become attributes of the log line.
func (e *endpoint) post(ctx context.Context, id string, body []byte, args ...any) (a answer) {
	defer e.panics.Recover(panics.Hook, &a.err, args...)
	ctx, cancel := context.WithTimeout(ctx, e.limits.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url.String(), bytes.NewReader(body))
	if err != nil {
		return answer{err: e.discreet(err)}
	}
	if err := e.signer.sign(r.Header, id, time.Now(), body); err != nil {
		return answer{err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "refresher")
	span := e.trace(r)
	response, err := e.client.Do(r)
	if err != nil {
		err = e.discreet(err)
		span.SetStatus(codes.Error, err.Error())
		span.End()
		return answer{err: err}
	}
	defer response.Body.Close()
	span.SetAttributes(attribute.Int("http.response.status_code", response.StatusCode))
	span.End() // the span ends here, so it does not include reading the body
	text, err := io.ReadAll(io.LimitReader(response.Body, int64(e.limits.answer)+1))
	if err != nil {
		err = e.discreet(err)
	}
	return answer{status: response.StatusCode, body: text, err: err, retryAfter: retryAfter(response, time.Now(), e.limits.wait)}
}

// trace starts a span for the request and adds the W3C Trace Context headers, if the request's context belongs to a
// recorded trace.
func (e *endpoint) trace(r *http.Request) trace.Span {
	parent := trace.SpanFromContext(r.Context())
	if !parent.IsRecording() {
		return parent
	}
	ctx, span := parent.TracerProvider().Tracer("refresher/internal/hook").Start(r.Context(), r.Method,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("server.address", e.url.Hostname()),
			attribute.String("url.path", e.url.Path)))
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(r.Header))
	return span
}

// location returns scheme://host/path of the URL for logs, without secrets.
func (e *endpoint) location() string {
	return (&url.URL{Scheme: e.url.Scheme, Host: e.url.Host, Path: e.url.Path, RawPath: e.url.RawPath}).String()
}

// origin returns scheme://host of the URL.
func (e *endpoint) origin() string {
	return (&url.URL{Scheme: e.url.Scheme, Host: e.url.Host}).String()
}

// exposed reports whether requests leave this machine unencrypted.
func (e *endpoint) exposed() bool {
	return e.url.Scheme == "http" && !origin.IsLoopback(e.url.Hostname())
}

// discreet removes secrets from an error of net/http. It strips the URL that net/http adds. If the remaining text still
// contains the URL's user, password or query, it hides the error. A receiver can cause such a text, for example by a
// malformed Location header.
func (e *endpoint) discreet(err error) error {
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

// retryAfter returns the wait that a response's Retry-After header asks for, in seconds or as a date. It limits the
// wait to the range from minWait to `limit`. It returns 0 if there is no such header, or if the status is neither 429
// nor 503.
func retryAfter(r *http.Response, now time.Time, limit time.Duration) time.Duration {
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	return readRetryAfter(r.Header.Get("Retry-After"), now, limit)
}

func readRetryAfter(header string, now time.Time, limit time.Duration) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		return min(max(minWait, time.Duration(min(seconds, uint64(limit/time.Second)+1))*time.Second), limit)
	}
	if date, err := http.ParseTime(header); err == nil {
		return min(max(minWait, date.Sub(now)), limit)
	}
	return 0
}

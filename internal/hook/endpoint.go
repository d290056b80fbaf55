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

// endpoint is one URL of the customer's back end, and the secrets shared with it. It is
// safe for concurrent use.
type endpoint struct {
	name   string // begins the names of its flags
	url    *url.URL
	signer signer
	client *http.Client
	panics *panics.Reporter
	limits limits
}

// limits are those of an endpoint.
type limits struct {
	atOnce  int           // requests under way
	timeout time.Duration // of one request
	wait    time.Duration // that an answer may ask for
	answer  int           // bytes of an answer that are read
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
		// What is signed for one address is not sent to another.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // answers are short, or not read
			MaxIdleConns:           l.atOnce,
			MaxIdleConnsPerHost:    l.atOnce,
			MaxConnsPerHost:        l.atOnce,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}}, nil
}

// parseURL reads the URL that the flag of that name holds. Its errors repeat nothing of
// it, and neither the errors of net/url: any part may be a password that was not escaped.
func parseURL(flag, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, fmt.Errorf("%s: want a form like https://app.example.com/path; special characters in a user, password or query want %%-encoding", flag)
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

// answer is what came back of a request.
type answer struct {
	status     int // 0 if there was no answer
	body       []byte
	err        error         // why there is no answer, or not all of its body; repeats no secret
	retryAfter time.Duration // the endpoint's Retry-After; 0 if it sent none
}

// post signs body, which is JSON, and sends it. id tells the back end whether it has seen
// the request before; it must have no dot, which ends it in what is signed. args are
// attributes for the log of a panic.
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
	span.End() // with the answer's headers
	text, err := io.ReadAll(io.LimitReader(response.Body, int64(e.limits.answer)+1))
	if err != nil {
		err = e.discreet(err)
	}
	return answer{status: response.StatusCode, body: text, err: err, retryAfter: retryAfter(response, time.Now(), e.limits.wait)}
}

// trace begins a span for a request whose context belongs to a trace, and names it in the
// request's headers as W3C Trace Context has it.
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

// location returns scheme://host/path of the URL, which a log may have.
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

// discreet returns err without the URL that net/http puts around it. An error that repeats
// the URL's user, password or query is not shown: its text may come from the receiver, such
// as a malformed Location.
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

// retryAfter returns the wait that a response's Retry-After asks for, in seconds or by a date:
// from minWait to limit. It is 0 without that header, or if the status is neither 429 nor 503.
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

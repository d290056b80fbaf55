package hook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func endpointFor(t *testing.T, url string) *endpoint {
	t.Helper()
	e, err := newEndpoint("x", &Config{URL: url, Secret: prefixedSecret, PreviousSecret: testSecret}, limits{timeout: time.Minute, answer: 100})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// roundTrip is an http.RoundTripper made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNames(t *testing.T) {
	for text, want := range map[string]struct {
		location, origin string
		exposed          bool
	}{
		"https://scott:lion@app.test/a%2Fb/c?t=tiger": {"https://app.test/a%2Fb/c", "https://app.test", false},
		"http://app.test:8080":                        {"http://app.test:8080", "http://app.test:8080", true},
		"HTTP://[2001:db8::1]:80/x":                   {"http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80", true},
		"http://LOCALHOST/x":                          {"http://LOCALHOST/x", "http://LOCALHOST", false},
	} {
		e := endpointFor(t, text)
		if e.location() != want.location || e.origin() != want.origin || e.exposed() != want.exposed {
			t.Errorf("%s: %s, %s, %t", text, e.location(), e.origin(), e.exposed())
		}
	}
}

// This test checks the errors that the method `post` returns. The harness checks the log, in each test that uses a
// harness.
func TestErrorsOfRequestsKeepSecrets(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/location" { // this malformed Location header makes net/http return an error that contains the header
			w.Header().Set("Location", "http://[:t=tiger&x=1/?%zz")
			w.WriteHeader(http.StatusFound)
			return
		}
		socket, _, err := w.(http.Hijacker).Hijack() // the malformed answer below makes net/http return an error that contains the answer
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(socket, "scott:li%2Fon\r\n\r\n")
		_ = socket.Close()
	}))
	defer server.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	const hidden = "not shown, since it repeats the x URL"
	for name, c := range map[string]struct {
		url, want string
		body      error // if not nil, reading the answer's body fails with this error, and no request goes over the network
	}{
		"header":                 {server.URL + "/location", hidden, nil},
		"answer":                 {server.URL, hidden, nil},
		"closed":                 {closed.URL, "connection refused", nil},
		"body":                   {closed.URL, "reset by peer", errors.New("reset by peer")},
		"body with the query":    {closed.URL, hidden, errors.New("bad chunk: t=tiger&x=1")},
		"body with the password": {closed.URL, hidden, errors.New("bad chunk: li/on")},
	} {
		e := endpointFor(t, strings.Replace(c.url, "http://", "http://scott:li%2Fon@", 1)+"?t=tiger&x=1")
		if c.body != nil {
			e.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(iotest.ErrReader(c.body))}, nil
			})
		}
		a := e.post(t.Context(), "id-1", []byte("{}"))
		if text := fmt.Sprint(a.err); !strings.HasSuffix(text, c.want) || strings.Contains(text, "li%2Fon") {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
		wantNoSecret(t, fmt.Sprint(a.err))
		e.client.CloseIdleConnections()
	}
}

// A Retry-After is honoured only with status 429 and 503, and only up to the limit.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		header string
		want   time.Duration
	}{
		{429, "", 0},
		{429, "0", time.Second},
		{429, "120", 2 * time.Minute},
		{503, "301", 5 * time.Minute},
		{503, "9223372036854775807", 5 * time.Minute},
		{503, "99999999999999999999", 0},
		{503, "-1", 0},
		{503, "Fri, 15 Jan 2027 08:00:30 GMT", 30 * time.Second},
		{503, "Fri, 15 Jan 2027 07:00:00 GMT", time.Second},
		{503, "Fri, 31 Dec 9999 23:59:59 GMT", 5 * time.Minute},
		{200, "60", 0},
		{500, "60", 0},
	} {
		r := &http.Response{StatusCode: c.status, Header: http.Header{"Retry-After": {c.header}}}
		if got := retryAfter(r, now, maxEventWait); got != c.want {
			t.Errorf("%d %q: %s, want %s", c.status, c.header, got, c.want)
		}
	}
}

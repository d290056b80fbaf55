package hook

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"refresher/internal/hook/hooktest"
)

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A request can be verified with either secret, and redirects are not followed.
func TestPost(t *testing.T) {
	var got http.Header
	var status int
	e, err := newEndpoint("x", &Config{URL: "https://app.test/x", Secret: prefixedSecret, PreviousSecret: testSecret}, limits{timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	e.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		got = r.Header
		for _, secret := range []string{prefixedSecret, testSecret} {
			if err := hooktest.Verify(secret, r.Header, body); err != nil || string(body) != "{}" {
				t.Errorf("%q by %q: %v", body, secret, err)
			}
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://elsewhere.test/"}}, Body: http.NoBody}, nil
	})
	for _, status = range []int{301, 302, 303, 307, 308} {
		if a := e.post(t.Context(), "id-1", []byte("{}")); a.err != nil || a.status != status {
			t.Errorf("status %d, %v: the redirect %d was followed", a.status, a.err, status)
		}
	}
	if got.Get("webhook-id") != "id-1" || got.Get("Content-Type") != "application/json" || len(got) != 5 {
		t.Errorf("%v", got)
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]struct {
		location, origin string
		exposed          bool
	}{
		"https://scott:lion@app.test/a%2Fb/c?t=tiger": {"https://app.test/a%2Fb/c", "https://app.test", false},
		"http://app.test:8080":                        {"http://app.test:8080", "http://app.test:8080", true},
		"HTTP://[2001:db8::1]:80/x":                   {"http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80", true},
		"http://LOCALHOST/x":                          {"http://LOCALHOST/x", "http://LOCALHOST", false},
		"http://127.8.8.8/":                           {"http://127.8.8.8/", "http://127.8.8.8", false},
		"http://127.0.0.1.test/":                      {"http://127.0.0.1.test/", "http://127.0.0.1.test", true},
	} {
		e, err := newEndpoint("x", &Config{URL: text, Secret: testSecret}, limits{})
		if err != nil {
			t.Fatal(err)
		}
		if e.location() != want.location || e.origin() != want.origin || e.exposed() != want.exposed {
			t.Errorf("%s: %s, %s, %t", text, e.location(), e.origin(), e.exposed())
		}
	}
}

// discreet keeps an error's cause and removes the URL's secrets.
func TestDiscreet(t *testing.T) {
	e, err := newEndpoint("x", &Config{URL: "https://scott:lion@app.test/x?t=tiger", Secret: testSecret}, limits{})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("connection refused")
	if got := e.discreet(&url.Error{Op: "Post", URL: "https://scott:lion@app.test/x?t=tiger", Err: refused}); got != refused { //nolint:errorlint // this very one, not one that wraps it
		t.Error(got)
	}
	for _, text := range []string{"bad header t=tiger", "user lion", "https://scott:lion@app.test"} {
		got := e.discreet(errors.New(text))
		if got.Error() != "not shown, since it repeats the x URL" {
			t.Errorf("%s: %v", text, got)
		}
	}
	if _, err := newEndpoint("x", &Config{URL: "https://scott:li%zzon@app.test", Secret: testSecret}, limits{}); err == nil || !strings.HasPrefix(err.Error(), "x-url: want a form") || strings.Contains(err.Error(), "scott") {
		t.Error(err)
	}
}

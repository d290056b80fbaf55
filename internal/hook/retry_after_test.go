package hook

import (
	"net/http"
	"testing"
	"time"
)

func TestReadRetryAfter(t *testing.T) {
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                              0,
		"0":                             time.Second,
		"1":                             time.Second,
		"120":                           2 * time.Minute,
		"301":                           5 * time.Minute,
		"9223372036854775807":           5 * time.Minute,
		"99999999999999999999":          0,
		"-1":                            0,
		"1.5":                           0,
		"soon":                          0,
		"Fri, 15 Jan 2027 08:00:30 GMT": 30 * time.Second,
		"Fri, 15 Jan 2027 07:00:00 GMT": time.Second,
		"Sat, 16 Jan 2027 08:00:00 GMT": 5 * time.Minute,
		"Fri, 31 Dec 9999 23:59:59 GMT": 5 * time.Minute,
	} {
		if got := readRetryAfter(header, now, maxEventWait); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

// FuzzRetryAfter checks that every Retry-After yields a wait within the limits.
func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Fri, 15 Jan 2027 08:00:30 GMT")
	f.Fuzz(func(t *testing.T, header string) {
		if d := readRetryAfter(header, time.Unix(1_800_000_000, 0), maxEventWait); d != 0 && (d < minWait || d > maxEventWait) {
			t.Errorf("%q: %s", header, d)
		}
	})
}

// A Retry-After is honoured only with status 429 and 503, and only up to the limit.
func TestRetryAfter(t *testing.T) {
	for status, want := range map[int]time.Duration{429: 20 * time.Second, 503: 20 * time.Second, 200: 0, 301: 0, 500: 0} {
		r := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"60"}}}
		if got := retryAfter(r, time.Now(), 20*time.Second); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
}

package webhook

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// MinWait is the least of all waits after a failure.
const MinWait = time.Second

// Backoff is how long to wait after the nth failure in a row, from 1: anything
// between MinWait and a bound that doubles up to limit, so that neither requests
// nor nodes come back in step.
func Backoff(n int, limit time.Duration) time.Duration {
	bound := min(MinWait<<min(n, 10), limit) // 2¹⁰ s is beyond any limit
	return MinWait + rand.N(bound-MinWait+1) //nolint:gosec // a spread, not a secret
}

// RetryAfter is how long a response asks to be left alone for, in seconds or by
// a date: from MinWait to limit. It is 0 if it does not say, or its status is
// neither 429 nor 503.
func RetryAfter(r *http.Response, now time.Time, limit time.Duration) time.Duration {
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	return retryAfter(r.Header.Get("Retry-After"), now, limit)
}

func retryAfter(header string, now time.Time, limit time.Duration) time.Duration {
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		return min(max(MinWait, time.Duration(min(seconds, uint64(limit/time.Second)+1))*time.Second), limit)
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(MinWait, date.Sub(now)), limit)
}

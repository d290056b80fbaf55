package events

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAnswer is how many bytes of an answer's body are read, for the sake of the
// connection: with more to come it is closed, not used again.
const maxAnswer = 16 << 10

// endpoint is where events go, and what goes with each. It is safe for
// concurrent use.
type endpoint struct {
	url    *url.URL
	secret []byte
	client *http.Client
}

// answer is what came of one attempt.
type answer struct {
	status int // 0 if there was no answer
	// retryAfter is how long the endpoint wants to be left alone; 0 if it
	// did not say.
	retryAfter time.Duration
	err        error // why there was no answer; repeats no secret
}

// delivered reports whether the receiver took the event.
func (a answer) delivered() bool { return a.status >= 200 && a.status <= 299 }

// absent reports whether the receiver said nothing at all, or only what stands
// in front of one that is down or overloaded.
func (a answer) absent() bool {
	switch a.status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		return false
	}
}

// newEndpoint uses client, or one of its own for so many connections.
func newEndpoint(u *url.URL, secret []byte, client *http.Client, connections int) *endpoint {
	if client == nil {
		client = &http.Client{Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // answers are not read
			MaxIdleConns:           connections,
			MaxIdleConnsPerHost:    connections,
			MaxConnsPerHost:        connections,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		}}
	}
	still := *client
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &endpoint{url: u, secret: bytes.Clone(secret), client: &still}
}

// post makes one attempt to deliver e.
func (p *endpoint) post(ctx context.Context, e *entry) answer {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url.String(), bytes.NewReader(e.body))
	if err != nil {
		return answer{err: p.discreet(err)}
	}
	now := time.Now()
	timestamp := strconv.FormatInt(now.Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "refresher")
	r.Header.Set(HeaderEventID, e.id)
	r.Header.Set(HeaderTimestamp, timestamp)
	r.Header.Set(HeaderSignature, sign(p.secret, timestamp, e.body))
	response, err := p.client.Do(r)
	if err != nil {
		return answer{err: p.discreet(err)}
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // the status has said it all
	a := answer{status: response.StatusCode}
	if a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable {
		a.retryAfter = retryAfter(response.Header.Get("Retry-After"), time.Now())
	}
	return a
}

// close lets go of idle connections.
func (p *endpoint) close() { p.client.CloseIdleConnections() }

// errWithheld stands for an error that would give away a part of the URL.
var errWithheld = errors.New("not shown, since it repeats the events URL")

// discreet is err without the URL that net/http puts around it. What is left
// names addresses at most, but for texts that come from the receiver, such as
// a malformed Location.
func (p *endpoint) discreet(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	text := err.Error()
	password, _ := p.url.User.Password()
	for _, hidden := range []string{p.url.User.String(), password, p.url.RawQuery} {
		if hidden != "" && strings.Contains(text, hidden) {
			return errWithheld
		}
	}
	return err
}

// retryAfter reads a Retry-After header, seconds or a date, as a wait from
// minWait to maxWait; 0 if it says neither.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(header, 10, 63); err == nil {
		return max(minWait, time.Duration(min(seconds, uint64(maxWait/time.Second)))*time.Second)
	}
	date, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(minWait, date.Sub(now)), maxWait)
}

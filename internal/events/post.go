package events

import (
	"context"
	"io"
	"net/http"
	"time"

	"refresher/internal/panics"
	"refresher/internal/webhook"
)

// maxAnswer is how many bytes of an answer's body are read, for the sake of the
// connection: with more to come it is closed, not used again.
const maxAnswer = 16 << 10

const (
	// maxWait bounds every wait after a failure.
	maxWait = 5 * time.Minute
	// maxProbeWait bounds the waits of an endpoint that answers, but refuses:
	// it may be the events that it does not like, and the next one is better.
	maxProbeWait = 10 * time.Second
	// tripAfter is how many attempts fail in a row before the endpoint counts
	// as failing. A few events that are always refused must not reach it.
	tripAfter = 8
)

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

// wait bounds how long a failing endpoint that gave this answer is left alone:
// the longer one is for a receiver that said nothing at all, or only what
// stands in front of one that is down or overloaded.
func (a answer) wait() time.Duration {
	switch a.status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return maxWait
	default:
		return maxProbeWait
	}
}

// post makes one attempt to deliver e.
func (s *Sender) post(ctx context.Context, e *entry) (a answer) {
	defer s.config.Panics.Recover(panics.Hook, &a.err, "session", e.session)
	response, err := s.endpoint.Post(ctx, e.id, e.body)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // the status has said it all
	return answer{status: response.StatusCode, retryAfter: webhook.RetryAfter(response, time.Now(), maxWait)}
}

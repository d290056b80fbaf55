package ws

import "time"

// allowance is the message rate limiter of one connection: messagesPerSecond, with a burst of
// messageBurst. It is a token bucket kept as one time (GCRA): 8 bytes instead of rate.Limiter's 80.
type allowance struct {
	full time.Duration // when the bucket will be full again, on the hub's clock
}

const messageEvery = time.Second / messagesPerSecond

// take takes one message from the bucket. It returns false if the bucket is empty.
func (a *allowance) take(now time.Duration) bool {
	full := max(a.full, now)
	if full-now > (messageBurst-1)*messageEvery {
		return false
	}
	a.full = full + messageEvery
	return true
}

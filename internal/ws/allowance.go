package ws

import "time"

// allowance is the rate of messages of one connection: messagesPerSecond, and messageBurst
// at once. It is a token bucket kept as one time (GCRA), in 8 bytes; a rate.Limiter has 80.
type allowance struct {
	empty time.Duration // when the bucket will be full again, on the hub's clock
}

const messageEvery = time.Second / messagesPerSecond

// take takes one message out, if there is one.
func (a *allowance) take(now time.Duration) bool {
	full := max(a.empty, now)
	if full-now > (messageBurst-1)*messageEvery {
		return false
	}
	a.empty = full + messageEvery
	return true
}

package ws

import (
	"time"

	"refresher/internal/protocol"
)

// allowance is the rate limiter for the messages of one connection: protocol.MessagesPerSecond, with a burst of
// protocol.MessageBurst. It is a token bucket that stores only one time, by the algorithm GCRA. It takes 8 bytes, while
// rate.Limiter takes 80.
type allowance struct {
	full time.Duration // when the bucket will be full again, on the hub's clock
}

const messageEvery = time.Second / protocol.MessagesPerSecond

// take takes one message from the bucket. It returns false if the bucket is empty.
func (a *allowance) take(now time.Duration) bool {
	full := max(a.full, now)
	if full-now > (protocol.MessageBurst-1)*messageEvery {
		return false
	}
	a.full = full + messageEvery
	return true
}

package ws

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Drain tells each client to reconnect after a delay, and closes the client's connection after that delay.
// The delays are spread evenly over the time `window`. New clients are refused and told when to reconnect. Drain
// returns when all connections are closed, or ctx is done.
func (h *Hub) Drain(ctx context.Context, window time.Duration) {
	h.drainsBy.Store(int64(h.now() + window + 1))
	conns := h.all()
	start := time.Now()
	step := window / time.Duration(max(1, len(conns)))
	// A connection is closed once two conditions are met, in any order: the client has received its delay, and the
	// delay has passed.
	met := make([]atomic.Int32, len(conns))
	advance := func(i int) {
		if met[i].Add(1) == 2 {
			conns[i].closeSoon(protocol.CloseDrain, "drain", nil)
		}
	}
	var telling sync.WaitGroup
	defer telling.Wait()
	telling.Go(func() { tell(ctx, conns, step, advance) }) // in a goroutine: a client that does not read its message must not delay the closing of other connections
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, c := range conns {
		timer.Reset(time.Until(start.Add(time.Duration(i) * step)))
		select {
		case <-timer.C:
			advance(i)
		case <-c.gone:
		case <-ctx.Done():
			return
		}
	}
	for _, c := range conns {
		select {
		case <-c.gone:
		case <-ctx.Done():
			return
		}
	}
}

// tellAtOnce is how many clients Drain informs concurrently. A write usually takes microseconds, but a write to a
// client that does not read takes the whole write timeout.
const tellAtOnce = 1024

// tell sends each client a message `reconnect`. The delay in the message is i*step for client i. After each message, tell
// calls told(i).
func tell(ctx context.Context, conns []*conn, step time.Duration, told func(i int)) {
	var telling sync.WaitGroup
	defer telling.Wait()
	slots := make(chan struct{}, tellAtOnce)
	for i, c := range conns {
		after := time.Duration(i) * step
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		telling.Go(func() {
			defer func() { <-slots }()
			_ = c.write(protocol.Reconnect{Type: protocol.TypeReconnect, AfterMs: after.Milliseconds(), Reason: protocol.ReasonDrain})
			told(i)
		})
	}
}

// A client that connects to a draining node is told to reconnect after at most 1/drainPart of the time until its tokens
// expire, but this limit is at least minReturn. The part is small because in a rolling restart a client may reach
// several draining nodes, one after another, and must wait each time.
const (
	drainPart = 6
	minReturn = 200 * time.Millisecond
)

// drainDelay reports whether the hub is draining. If it is, drainDelay also returns how long a client that connects now
// must wait before it reconnects: a random part of the remaining window. The argument expiresAt is when the client's
// tokens expire according to the client; it is 0 if unknown.
func (h *Hub) drainDelay(expiresAt session.UnixSec) (time.Duration, bool) {
	by := h.drainsBy.Load()
	if by == 0 {
		return 0, false
	}
	left := max(time.Second, time.Duration(by)-h.now())
	if expiresAt != 0 {
		left = min(left, max(minReturn, time.Until(expiresAt.Time())/drainPart))
	}
	return spread(left), true
}

// spread returns a random duration shorter than `most`, so that clients do not reconnect at the same time.
func spread(most time.Duration) time.Duration {
	return rand.N(most) //nolint:gosec // not a secret
}

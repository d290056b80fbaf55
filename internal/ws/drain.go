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

// Drain tells every client to connect again, elsewhere, at a moment of its own within
// window, and closes its connection then. From now on, clients that connect are sent away
// at once. Drain returns when all connections are gone, or ctx is done.
func (h *Hub) Drain(ctx context.Context, window time.Duration) {
	h.drainsBy.Store(int64(h.now() + window + 1))
	conns := h.all()
	start := time.Now()
	step := window / time.Duration(max(1, len(conns)))
	// A connection is closed once its client was told and its moment has come.
	steps := make([]atomic.Int32, len(conns))
	advance := func(i int) {
		if steps[i].Add(1) == 2 {
			conns[i].closeSoon(protocol.CloseDrain, "drain", nil)
		}
	}
	var telling sync.WaitGroup
	defer telling.Wait()
	telling.Go(func() { tell(ctx, conns, step, advance) }) // clients that do not read hold up no others
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

// tellAtOnce is how many clients are told at a time: most take microseconds, and one that
// does not read takes the write timeout.
const tellAtOnce = 1024

// tell tells clients when to connect again, one every step from now on, and calls told
// with the index of each.
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

// A draining node sends a client away for at most 1/drainPart of the life left in its
// tokens: several nodes may be drained one after the other, and it may meet each of them.
// It is at least minReturn.
const (
	drainPart = 6
	minReturn = 200 * time.Millisecond
)

// drainDelay reports whether the hub is draining, and how long a client that connects now
// waits before it connects again: a random part of the window that is left. The client
// says that its tokens run out at expiresAt; 0 is unknown.
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

// spread draws a span up to most, so that clients do not come back together.
func spread(most time.Duration) time.Duration {
	return rand.N(most) //nolint:gosec // not a secret
}

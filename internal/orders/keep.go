package orders

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

const (
	// askEvery is how often the board is asked what has changed, also without
	// a notice.
	askEvery = 2 * time.Second
	// minRetry and maxRetry bound the wait before a board that is away is
	// tried again.
	minRetry = 100 * time.Millisecond
	maxRetry = 2 * time.Second
	// boardTimeout is how long the board may take for anything that nobody
	// waits for.
	boardTimeout = 3 * time.Second
	// followPause is for how long broken notices are left alone.
	followPause = time.Second
	// putAgain is how long the board is not told again of what it was just
	// told: it may be it that thinks that an order's time is over.
	putAgain = time.Second
	// batch is how many orders are put on the board at once.
	batch = 256
	// maxGap bounds the pause between two readings of a board that takes long.
	maxGap = 300 * time.Millisecond
	// lastChance is how long Run goes on, after its context is done, to save
	// what the board was not told of yet.
	lastChance = time.Second
)

// Run follows the board and carries orders out until ctx is done. It returns nil,
// when its goroutines are gone; a Sessions that blocks keeps it. Call it once.
func (b *Book) Run(ctx context.Context) error {
	if b.config.Sessions == nil {
		return errors.New("orders: Sessions was not set")
	}
	var parts sync.WaitGroup
	parts.Go(func() { b.follow(ctx) })
	parts.Go(func() { b.carryOut(ctx) })
	parts.Go(func() { b.rollOver(ctx) })
	parts.Go(func() { b.report(ctx) })
	parts.Go(func() { b.keep(ctx) })
	parts.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastChance)
	defer cancel()
	if err := b.flush(last, true); err != nil {
		b.config.Logger.Warn("stopped with orders that only this node knows of", "error", err)
	}
	return nil
}

// follow has the board read whenever it has changed.
func (b *Book) follow(ctx context.Context) {
	for {
		err := b.config.Board.Follow(ctx, func() { signal(b.wakeKeep) })
		if !pause(ctx, followPause) {
			return
		}
		// Whether the board is there shows when it is read, which it is
		// without notices, too.
		b.config.Logger.Debug("notices of orders were interrupted", "error", err)
	}
}

// keep keeps the book in step with the board.
func (b *Book) keep(ctx context.Context) {
	k := keeper{book: b}
	for {
		began := time.Now()
		err := k.step(ctx)
		if ctx.Err() != nil {
			return
		}
		k.over = max(k.over, b.expire())
		if errors.Is(err, store.ErrBoardFull) {
			b.config.Logger.Warn("the board is full; some orders, given while it was away, count on this node only", "error", err)
			err = nil // it is there
		}
		wait := k.answered(err)
		if err == nil && b.lacking() {
			wait = putAgain
		}
		// A board that takes long to read is not read all the time.
		if !pause(ctx, min(2*time.Since(began), maxGap)) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-b.wakeKeep:
		case <-time.After(wait):
		}
	}
}

// keeper is what the keeping loop remembers.
type keeper struct {
	book    *Book
	version string // of the board, as it was last taken over; empty at first
	// over is the last end of the orders that the board may
	// have and the book has not, since their time was over.
	over     session.UnixSec
	readings uint64
	failures int // in a row
	away     time.Time
}

// step takes over what the board has, and gives it what it lacks.
func (k *keeper) step(ctx context.Context) error {
	read, cancel := context.WithTimeout(ctx, boardTimeout)
	defer cancel()
	asked := time.Now()
	if k.book.unix() < k.over { // the clock was set back: they stand again
		k.version, k.over = "", 0
	}
	orders, version, err := k.book.config.Board.Orders(read, k.version)
	if err != nil {
		return err
	}
	if version != k.version {
		k.merge(orders, asked)
		k.version = version
	}
	return k.book.flush(ctx, false)
}

// answered notes whether the board did, and returns how long to leave it alone.
func (k *keeper) answered(err error) time.Duration {
	log := k.book.config.Logger
	if err == nil {
		if k.failures > 0 {
			log.Info("the board of orders is back", "away_seconds", time.Since(k.away).Seconds())
		}
		k.failures = 0
		return askEvery
	}
	if k.failures == 0 {
		k.away = time.Now()
		log.Warn("the board of orders cannot be reached, or refuses; orders given on other nodes are not learned",
			"loaded", k.book.Loaded(), "error", err)
	}
	wait := min(maxRetry, minRetry<<min(k.failures, 10))
	k.failures++
	return wait
}

// merge takes over what the board had when it was asked.
func (k *keeper) merge(orders []store.Order, asked time.Time) {
	b := k.book
	k.readings++
	now := b.unix()
	var news []store.Order
	var found, missing []*entry
	lifted := make(map[*entry]bool) // of those found
	b.mu.RLock()                    // there may be many, and sessions are looked up meanwhile
	for _, o := range orders {
		e := b.entries[o.ID]
		if e == nil {
			// What a newer release means by its orders, this one cannot
			// know.
			switch {
			case !known(o.Kind) || o.Format > store.Format:
			case now < o.Until:
				news = append(news, o)
			default:
				k.over = max(k.over, o.Until)
			}
			continue
		}
		e.seen = k.readings
		if _, due := b.unsaved[e]; due || e.order.Lifted != o.Lifted {
			found = append(found, e)
			lifted[e] = o.Lifted
		}
	}
	for _, e := range b.entries {
		if e.seen != k.readings && !e.givenAt.After(asked) {
			missing = append(missing, e)
		}
	}
	b.mu.RUnlock()
	slices.SortFunc(news, func(a, b store.Order) int { return older(&a, &b) })

	var learned, liftedHere []store.Order
	b.mu.Lock()
	for _, o := range news {
		if b.entries[o.ID] != nil {
			continue // given here a moment ago
		}
		e := b.add(o)
		e.seen = k.readings
		learned = append(learned, o)
		if o.Lifted {
			continue
		}
		if o.Kind == store.OrderRotate {
			b.rolling[e] = time.Time{}
		} else {
			b.news = append(b.news, e)
		}
	}
	for _, e := range found {
		if lifted[e] && b.lift(e) {
			liftedHere = append(liftedHere, e.order)
		}
		if e.order.Lifted == lifted[e] {
			b.settle(e)
		} else {
			b.miss(e)
		}
	}
	for _, e := range missing {
		e.told = false // its reports are lost with it
		b.miss(e)
	}
	b.mu.Unlock()
	signal(b.wakeApply)
	signal(b.wakeRoll)

	if b.loaded.Swap(true) {
		for i := range learned {
			b.log("learned", learned[i])
		}
	} else {
		close(b.known)
		b.config.Logger.Info("the board of orders was read", "orders", len(orders))
	}
	for i := range liftedHere {
		b.log("lifted elsewhere", liftedHere[i])
	}
}

// miss notes that the board does not have an entry as it is. Book.mu is held.
func (b *Book) miss(e *entry) {
	if b.entries[e.order.ID] == e {
		b.unsaved[e] = struct{}{}
	}
}

// flush puts on the board what it lacks, but for what it was told of a moment ago,
// or had no room for, unless all is asked for.
func (b *Book) flush(ctx context.Context, all bool) error {
	ctx, cancel := context.WithTimeout(ctx, boardTimeout)
	defer cancel()
	var due []*entry
	b.mu.RLock()
	now := b.unix()
	for e := range b.unsaved {
		ready := !e.giving && time.Since(e.givenAt) >= putAgain && !time.Now().Before(e.tryAfter)
		if now < e.order.Until && (all || ready) {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, byAge)
	b.mu.RUnlock()
	var full error
	for part := range slices.Chunk(due, batch) {
		err := b.put(ctx, part)
		if errors.Is(err, store.ErrBoardFull) {
			full = err // others may be those that only need to be lifted
			continue
		}
		if err != nil {
			return err
		}
	}
	return full
}

// lacking reports whether the board lacks something.
func (b *Book) lacking() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.unsaved) > 0
}

// expire forgets the orders whose time is over, and returns the last end of these;
// zero is none.
func (b *Book) expire() (last session.UnixSec) {
	now := b.unix()
	b.mu.Lock()
	defer b.mu.Unlock()
	if now < b.earliest {
		return 0
	}
	b.earliest = never
	for _, e := range b.entries {
		if now < e.order.Until {
			b.earliest = min(b.earliest, e.order.Until)
			continue
		}
		last = max(last, e.order.Until)
		b.forget(e)
	}
	return last
}

// pause waits for d, and reports whether ctx is not done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

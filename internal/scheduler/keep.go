package scheduler

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"sync"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Store keeps what must outlive this node. No push waits for it. Its methods
// are safe for concurrent use; see package store for what they mean.
type Store interface {
	// Grip makes a node the owner of a session that it was shown the key
	// to. A *session.EndedError says that the key is no good any more; any
	// other error that the store cannot tell.
	Grip(ctx context.Context, g store.Grip) (store.Held, error)
	// Save writes records, each by itself, by the rule of store.Judge. There
	// is an outcome for each, also with an error, which says why some are
	// Unsaved.
	Save(ctx context.Context, records []store.Record) ([]store.Outcome, error)
	// Sweep renews the node's lease in each shard, and hands it what is
	// overdue and whose owner is gone; or only some of that, see store.Doing.
	Sweep(ctx context.Context, node string, do store.Doing) [store.Shards]store.Swept
	// Watch reports the sessions that other nodes take from this one, until
	// ctx is done or it cannot go on. Since connected was last called, none
	// was missed.
	Watch(ctx context.Context, node string, connected func(), notice func(id string)) error
}

const (
	// gatherFor is how long records wait for others to be written with.
	gatherFor = 100 * time.Millisecond
	// laneBatch is how many records of one shard are written at once.
	laneBatch = 64
	// storeTimeout is how long the store may take for anything that nobody
	// waits for.
	storeTimeout = 3 * time.Second
	// gripTimeout is how long a client that comes back waits for what the
	// store knows of it. Its key says enough to go on without.
	gripTimeout = 400 * time.Millisecond
	// gripQueue is how long it waits before that for others, who came at the
	// same time; gripsAtOnce go to the store together.
	gripQueue   = time.Second
	gripsAtOnce = 24
	// gripPause is for how long the store is not asked again that did not
	// answer in time.
	gripPause = time.Second
	// watchPause is how long broken notices are left alone.
	watchPause = time.Second
	// flushTimeout is how long the last records may take when the node stops.
	flushTimeout = 3 * time.Second
)

// shards is a set of them.
type shards [store.Shards]bool

func allShards() *shards {
	var all shards
	for i := range all {
		all[i] = true
	}
	return &all
}

// keepStore keeps the store in step with the sessions until ctx is done: it
// writes what has changed, renews the leases, takes over what is overdue, and
// follows what other nodes take away. At the end it writes what is left and
// gives the leases up.
func (s *Scheduler) keepStore(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { s.write(ctx) })
	parts.Go(func() { s.sweep(ctx) })
	parts.Go(func() { s.watch(ctx) })
	parts.Wait()
	s.aside.Wait()
	s.writeLast()
	s.aside.Wait() // for what the last answers asked for
}

// writeLast writes what is left when the node stops, and gives its leases up, so
// that others may take over at once what is overdue.
func (s *Scheduler) writeLast() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	for ctx.Err() == nil {
		s.flush()
		at := s.outbox.next()
		if at == never {
			s.config.Store.Sweep(ctx, s.config.Node, store.Leave)
			return
		}
		_ = pause(ctx, at-s.clock.now().Mono) // what is over time is told below
	}
	_, unwritten, _ := s.outbox.state()
	s.config.Logger.Warn("stopping with sessions that the store was not told of; their clients' keys still open them", "unwritten", unwritten)
}

// write writes what has changed, as it changes.
func (s *Scheduler) write(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-s.outbox.wake:
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		if pause(ctx, gatherFor) != nil {
			return
		}
		for more := true; more && ctx.Err() == nil; {
			more = s.flush()
		}
		if at := s.outbox.next(); at != never {
			retry.Reset(at - s.clock.now().Mono)
		}
	}
}

// flush writes one batch, and reports whether there was more than fits into one.
func (s *Scheduler) flush() bool {
	letters, more := s.outbox.take(s.clock.now().Mono)
	if len(letters) == 0 {
		return false
	}
	records := make([]store.Record, len(letters))
	for i, l := range letters {
		records[i] = *l.record
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout) // a batch that is cut off would be written twice
	defer cancel()
	ctx, span := s.traceBatch(ctx, letters)
	outcomes, err := s.config.Store.Save(ctx, records)
	endSpan(span, err)
	var reached, failed shards
	for i, l := range letters {
		shard := store.ShardOf(l.entry.id)
		if outcomes[i].Verdict == store.Unsaved {
			failed[shard] = true
			s.outbox.giveBack(l)
			continue
		}
		reached[shard] = true
		s.settle(l, outcomes[i])
	}
	back := s.storeAnswered(&reached, &failed, err)
	s.rewrite(&back)
	return more
}

// settle does what the store's answer to one record asks for.
func (s *Scheduler) settle(l letter, o store.Outcome) {
	l.recorded()
	switch o.Verdict {
	case store.Saved:
		if l.record.Over() && l.record.Told.Has(store.ToldEnd) {
			s.forgetEnding(l.entry) // the store answers for it now
		}
	case store.Superseded, store.Moved, store.Dead:
		s.aside.Go(func() { l.entry.do(func() { s.lose(l, o) }) }) // it may have to write to a client
	case store.Behind:
		s.behind(l.entry, o.Epoch)
	case store.Foreign:
		if l.record.Over() {
			s.forgetEnding(l.entry)
		}
		if !l.entry.foreign.Swap(true) {
			s.config.Logger.Warn("a newer release wrote this session's record; left alone, its calls go on", "session", l.entry.id)
		}
	case store.Unsaved: // given back
	}
}

// sweep renews the node's leases and takes over what is overdue.
func (s *Scheduler) sweep(ctx context.Context) {
	tick := time.NewTicker(s.sweepEvery)
	defer tick.Stop()
	var generations [store.Shards]string
	// Where the store was away, it may have been for all: nobody's lease
	// holds then, and everything is overdue. The others are given the time
	// to come back.
	var claimFrom time.Duration
	for {
		s.sweepOnce(&generations, &claimFrom)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Scheduler) sweepOnce(generations *[store.Shards]string, claimFrom *time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if s.Degraded() {
		*claimFrom = s.clock.now().Mono + store.Lease
	}
	do := store.Claim
	if s.clock.now().Mono < *claimFrom {
		do = store.Renew
	}
	swept := s.config.Store.Sweep(ctx, s.config.Node, do)
	var reached, failed shards
	var err error
	for shard := range swept {
		reached[shard] = swept[shard].Err == nil
		failed[shard] = !reached[shard]
		err = cmp.Or(err, swept[shard].Err)
	}
	again := s.storeAnswered(&reached, &failed, err)
	for shard := range swept {
		found := &swept[shard]
		if found.Err != nil {
			continue
		}
		if was := generations[shard]; was != found.Generation {
			generations[shard] = found.Generation
			again[shard] = again[shard] || was != ""
		}
		for i := range found.Overdue {
			s.adopt(&found.Overdue[i])
		}
	}
	s.rewrite(&again)
}

// watch follows what other nodes take away.
func (s *Scheduler) watch(ctx context.Context) {
	first := true
	for {
		err := s.config.Store.Watch(ctx, s.config.Node, func() {
			if !first { // there was a gap, in which something may have been missed
				s.rewrite(allShards())
			}
			first = false
		}, s.noticed)
		if ctx.Err() != nil {
			return
		}
		if !s.Degraded() { // else it is known
			s.config.Logger.Warn("notices of what other nodes take are interrupted; trying again", "error", err)
		}
		if pause(ctx, watchPause) != nil {
			return
		}
	}
}

// noticed looks into a session that another node has taken: the store's answer
// to its record says what is to be done.
func (s *Scheduler) noticed(id string) {
	s.mu.Lock()
	e := s.entries[id]
	s.mu.Unlock()
	if e != nil {
		s.tellAgain(e)
	}
}

// outage is what the log has of a store that is away, in all or in part.
type outage struct {
	mu   sync.Mutex // held from an answer until what it means is known to all; locked before the outbox's
	said int        // how many shards were away when that was logged last; guarded by mu
}

// storeAnswered notes which shards were reached and which were not, because of
// err. It returns those that are back after they had been away: they are to be
// told of all their sessions again, since what they were told before may be lost
// with a server.
func (s *Scheduler) storeAnswered(reached, failed *shards, err error) (back shards) {
	s.outage.mu.Lock()
	defer s.outage.mu.Unlock()
	back, away, since := s.outbox.answered(reached, failed, s.clock.now().Mono)
	switch {
	case away == 0:
		if s.storeError.Swap("") != "" {
			_, unwritten, _ := s.outbox.state()
			s.config.Logger.Info("the store is back", "away_seconds", since.Seconds(), "unwritten", unwritten)
		}
	case err != nil:
		// Another kind of error than before is news: a password that was
		// changed while the server was down, say. So is twice as much that is
		// away: the first write that fails knows of its own shards alone.
		if kind := errorKind(err); s.storeError.Swap(kind) != kind || away >= 2*s.outage.said {
			s.outage.said = away
			s.config.Logger.Warn("the store cannot be reached, or refuses; calls go on without it", "shards", away, "error", err)
		}
	}
	return back
}

// errorKind is a server's word for an error, such as OOM or WRONGPASS, or that
// there was no answer.
func errorKind(err error) string {
	if code := errorCode.FindString(err.Error()); code != "" && code != "EOF" {
		return code
	}
	return "no answer"
}

var errorCode = regexp.MustCompile(`\b[A-Z]{3,}\b`)

// Degraded reports that the store, or a part of it, cannot be reached. Calls go
// on all the same.
func (s *Scheduler) Degraded() bool { return s.storeError.Load() != "" }

// grip asks the store for a session that a client has shown a key to. It is not
// asked when it is away or did not answer a moment ago: the key says enough to go
// on, as if the store knew nothing.
func (s *Scheduler) grip(ctx context.Context, key session.Key, attach bool) (store.Held, error) {
	byKey := store.Held{Epoch: key.Epoch + 1}
	if !s.outbox.reachable(store.ShardOf(key.Session)) || !s.queueForGrip() {
		return byKey, nil
	}
	defer func() { <-s.grips }()
	now := s.clock.now().Mono
	before := s.gripAfter.Load()
	if time.Duration(before) > now {
		return byKey, nil
	}
	ctx, cancel := context.WithTimeout(ctx, gripTimeout)
	defer cancel()
	held, err := s.config.Store.Grip(ctx, store.Grip{Session: key.Session, Epoch: key.Epoch, Node: s.config.Node, Attach: attach})
	if ended, ok := errors.AsType[*session.EndedError](err); ok {
		return held, ended
	}
	if errors.Is(err, store.ErrForeign) {
		return byKey, nil
	}
	if err != nil {
		if s.gripAfter.CompareAndSwap(before, int64(s.clock.now().Mono+gripPause)) { // once for many
			s.config.Logger.Warn("the store does not answer; clients that come back are taken by their keys", "error", err)
		}
		return byKey, nil
	}
	return held, nil
}

// queueForGrip waits for one of the places in which grips may be under way, for
// a while: a storm of clients must not look like a store that does not answer.
func (s *Scheduler) queueForGrip() bool {
	select {
	case s.grips <- struct{}{}:
		return true
	default:
	}
	wait := time.NewTimer(gripQueue)
	defer wait.Stop()
	select {
	case s.grips <- struct{}{}:
		return true
	case <-wait.C:
		return false
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

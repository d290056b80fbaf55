package cluster

import (
	"regexp"
	"sync"
	"sync/atomic"

	"refresher/internal/store"
)

// outage is what is known of a store that is away, in all or in part.
type outage struct {
	kind atomic.Value // the kind of error for which a part of the store is away, a string; empty: it is not

	mu       sync.Mutex // held until an answer is in kind and in the log, so that answers count one by one; locked before the write-behind's
	logged   int        // how many shards were away when that was logged last; guarded by mu
	unleased bool       // the node's lease could not be renewed at the last sweep; guarded by mu
}

// noteStoreAnswer notes which shards were reached and which were not, because of err. It
// returns those that are back after they had been away.
func (c *Cluster) noteStoreAnswer(reached, failed *store.ShardSet, err error) (back store.ShardSet) {
	o := &c.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	back, away, since := c.pending.noteAnswers(reached, failed, c.now())
	switch {
	case away == 0 && !o.unleased:
		if o.kind.Swap("") != "" {
			_, unwritten, _ := c.pending.state()
			c.config.Logger.Info("the store is back", "away_seconds", since.Seconds(), "unwritten", unwritten)
		}
	case err != nil:
		// Another kind of error than before is news: a password that was changed while the
		// server was down, say. So is twice as much that is away: the first write that fails
		// knows of its own shards alone.
		if kind := errorKind(err); o.kind.Swap(kind) != kind || away >= 2*max(1, o.logged) {
			o.logged = away
			c.config.Logger.Warn("the store cannot be reached, or refuses; calls go on without it", "shards", away, "error", err)
		}
	}
	return back
}

// noteLeaseAnswer notes whether the node's lease was renewed.
func (c *Cluster) noteLeaseAnswer(err error) {
	c.outage.mu.Lock()
	defer c.outage.mu.Unlock()
	c.outage.unleased = err != nil
}

// errorKind returns a server's word for an error, such as OOM or WRONGPASS, or noAnswer.
func errorKind(err error) string {
	if code := errorCode.FindString(err.Error()); code != "" && code != "EOF" {
		return code
	}
	return noAnswer
}

const noAnswer = "no answer"

var errorCode = regexp.MustCompile(`\b[A-Z]{3,}\b`)

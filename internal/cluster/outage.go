package cluster

import (
	"regexp"
	"sync"
	"sync/atomic"

	"refresher/internal/store"
)

// outage is the state of an outage: a time in which part or all of the store is unreachable.
type outage struct {
	kind atomic.Value // the kind of error of the outage, a string; empty if there is no outage

	mu       sync.Mutex // serialises the handling of the store's answers; always locked before the write-behind's lock, never after it
	logged   int        // number of unreachable shards in the last log line; guarded by mu
	unleased bool       // whether the last sweep failed to renew the node's lease; guarded by mu
}

// noteStoreAnswer records which shards were reached, and which shards failed with the error
// err. It returns the shards that were down and are reachable again.
func (c *Cluster) noteStoreAnswer(reached, failed *store.ShardSet, err error) (back store.ShardSet) {
	o := &c.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	back, away, since := c.pending.noteAnswers(reached, failed, c.now())
	switch {
	case away == 0 && !o.unleased:
		if o.kind.Swap("") != "" {
			_, unwritten, _ := c.pending.state()
			c.config.Logger.Info("Redis is back", "away_seconds", since.Seconds(), "unwritten", unwritten)
		}
	case err != nil:
		// An outage that continues is logged again if the kind of error changes, for example
		// because the password was changed while the server was down. It is also logged again if
		// twice as many shards are unreachable, since the first failed write only shows that its
		// own shards are down.
		if kind := errorKind(err); o.kind.Swap(kind) != kind || away >= 2*max(1, o.logged) {
			o.logged = away
			c.config.Logger.Warn("Redis cannot be reached, or refuses operations; calls go on without it", "shards", away, "error", err)
		}
	}
	return back
}

// noteLeaseAnswer records whether the node's lease was renewed.
func (c *Cluster) noteLeaseAnswer(err error) {
	c.outage.mu.Lock()
	defer c.outage.mu.Unlock()
	c.outage.unleased = err != nil
}

// errorKind returns the error code from Redis, such as OOM or WRONGPASS, or noAnswer if err
// contains none.
func errorKind(err error) string {
	if code := errorCode.FindString(err.Error()); code != "" && code != "EOF" {
		return code
	}
	return noAnswer
}

const noAnswer = "no answer"

var errorCode = regexp.MustCompile(`\b[A-Z]{3,}\b`)

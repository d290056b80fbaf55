package cluster

import (
	"regexp"
	"sync"
	"sync/atomic"

	"refresher/internal/store"
)

// outage is the state of an outage of the store, or of a part of it.
type outage struct {
	kind atomic.Value // a string: the kind of error of the outage; empty if all of the store is reachable

	mu       sync.Mutex // serialises the answers of the store; locked before the write-behind's lock
	logged   int        // number of unreachable shards in the last log line; guarded by mu
	unleased bool       // the last sweep could not renew the node's lease; guarded by mu
}

// noteStoreAnswer records which shards were reached and which were not, because of err. It
// returns the shards that are reachable again.
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
		// It is logged again if the kind of error changes, for example because a password
		// was changed while the server was down, and if twice as many shards are
		// unreachable, since the first failing write knows of its own shards only.
		if kind := errorKind(err); o.kind.Swap(kind) != kind || away >= 2*max(1, o.logged) {
			o.logged = away
			c.config.Logger.Warn("the store cannot be reached, or refuses; calls go on without it", "shards", away, "error", err)
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

// errorKind returns the error code of a Redis server, such as OOM or WRONGPASS, or noAnswer.
func errorKind(err error) string {
	if code := errorCode.FindString(err.Error()); code != "" && code != "EOF" {
		return code
	}
	return noAnswer
}

const noAnswer = "no answer"

var errorCode = regexp.MustCompile(`\b[A-Z]{3,}\b`)

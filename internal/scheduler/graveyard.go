package scheduler

import (
	"time"

	"refresher/internal/session"
)

// maxGraves bounds how many ended sessions are remembered: some 100 MB. It is
// reached by a node on which more sessions are left within a policy's
// MaxSession; the key of the one that was left first then opens it again.
const maxGraves = 1_000_000

// graveyard remembers sessions that were ended on purpose for as long as a key
// to them could be good. It is not safe for concurrent use.
type graveyard struct {
	endings map[string]session.Ending // by session id
	order   []grave                   // by time of burial
}

// grave is one place in the order.
type grave struct {
	id    string
	until time.Duration // monotonic
}

// add remembers a session until then. Later sessions have a later until.
func (g *graveyard) add(id string, e session.Ending, until time.Duration) {
	g.endings[id] = e
	g.order = append(g.order, grave{id, until})
	if len(g.order) > maxGraves {
		g.dropFirst()
	}
}

// forget lets go of those whose time is over.
func (g *graveyard) forget(now time.Duration) {
	for len(g.order) > 0 && g.order[0].until <= now {
		g.dropFirst()
	}
}

func (g *graveyard) dropFirst() {
	delete(g.endings, g.order[0].id)
	g.order[0] = grave{}
	g.order = g.order[1:]
}

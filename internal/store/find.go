package store

import (
	"context"
	"time"
)

// settleTime is longer than a node takes to save a session after the session was joined or
// changed.
const settleTime = 250 * time.Millisecond

// Getter reads the record of one session.
type Getter interface {
	// Get returns one session's record, or only its end if the session has ended (see
	// Record.OnlyEnd). It returns false if there is no record, or the record cannot be read.
	Get(ctx context.Context, id string) (Record, bool, error)
}

// Find returns the record of an open session of a project, or false if there is none. It tries a
// second time after settleTime, since the session may have been joined a moment ago. For a session
// of another project, Find takes as long as for a session that does not exist, so that the time
// does not reveal that another project has such a session.
func Find(ctx context.Context, g Getter, app, id string) (Record, bool, error) {
	r, ok, err := findOnce(ctx, g, app, id)
	if err != nil || ok {
		return r, ok, err
	}
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
	}
	return findOnce(ctx, g, app, id)
}

func findOnce(ctx context.Context, g Getter, app, id string) (Record, bool, error) {
	r, ok, err := g.Get(ctx, id)
	if err != nil || !ok || r.App != app || r.HasEnded() {
		return Record{}, false, err
	}
	return r, true, nil
}

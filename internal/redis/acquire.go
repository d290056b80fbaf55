package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Acquire makes g.Node the owner of a session. The returned record has no due time. The error
// is a *session.EndedError if the session was ended or a newer resume key has already been
// presented, and store.ErrUnreadable if the session's record cannot be read.
func (s *Store) Acquire(ctx context.Context, g store.AcquireRequest) (held store.Acquired, err error) {
	defer s.metrics.observe("acquire", time.Now(), &err)
	shard := store.ShardOf(g.Session)
	letter := letterDetached
	if g.Attach {
		letter = letterAttached
	}
	now := s.time()
	reply, err := acquireScript.Run(ctx, s.client,
		[]string{s.keys.session(shard, g.Session), s.keys.due[shard]},
		s.keys.channel, g.Session, store.NodeID(g.Node), g.Epoch, letter, now.Unix(), now.Add(store.Lease).UnixMilli(),
	).Slice()
	if err != nil {
		return held, fmt.Errorf("acquire: %w", err)
	}
	switch answer := word(reply, 0); answer {
	case "new":
		return store.Acquired{Epoch: g.Epoch + 1}, nil
	case "unreadable":
		return held, s.unreadable(g.Session, errNoRecord)
	case "ended", "superseded":
		var r store.Record
		if err := unpackState(word(reply, 1), &r); err != nil {
			return held, s.unreadable(g.Session, err)
		}
		if answer == "superseded" {
			r.Reason = session.EndSuperseded
		}
		return held, &session.EndedError{Ending: r.Ending()}
	}
	if len(reply) < 2 {
		return held, fmt.Errorf("acquire: unexpected answer %q", reply)
	}
	fields := pairs(reply[1])
	fields[fieldDue] = "0"
	if held.Record, err = s.unpack(g.Session, fields); err != nil {
		return store.Acquired{}, err
	}
	held.Known = true
	held.Epoch, err = strconv.ParseUint(word(reply, 0), 10, 64)
	return held, err
}

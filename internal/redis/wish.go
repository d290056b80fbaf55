package redis

import (
	"context"
	"fmt"
	"time"

	"refresher/internal/session"
	"refresher/internal/store"
)

// Wish writes an operator's change (a wish) into the record of an open session, notifies the
// session's owner and returns the changed record. The error is store.ErrNoSession if there is
// no such session, and store.ErrUnreadable if the session's record cannot be read.
func (s *Store) Wish(ctx context.Context, w store.Wish) (r store.Record, err error) {
	defer s.metrics.observe("wish", time.Now(), &err)
	wanted := [...]string{store.WishRenew: "renew", store.WishRole: roleLetter(w.Role), store.WishEnd: "end"}[w.Kind]
	shard := store.ShardOf(w.Session)
	reply, err := wishScript.Run(ctx, s.client,
		[]string{s.keys.session(shard, w.Session), s.keys.due[shard]},
		s.keys.channel, w.Session, int64(w.At), wanted, string(session.EndRevoked),
	).Result()
	if err != nil {
		return r, fmt.Errorf("wish: %w", err)
	}
	switch reply {
	case "none":
		return r, store.ErrNoSession
	case "unreadable":
		return r, s.unreadable(w.Session, errNoRecord)
	}
	return s.unpack(w.Session, pairs(reply))
}

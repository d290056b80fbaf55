package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/store"
)

// watchSilence is how long a subscription may be silent before a PING checks whether its
// connection is alive.
const watchSilence = 10 * time.Second

// handle calls `connected` if the message confirms a subscription, and `notice` if it is a notice.
func handle(message any, connected func(), notice func(payload string)) {
	switch m := message.(type) {
	case *goredis.Subscription:
		connected()
	case *goredis.Message:
		notice(m.Payload)
	}
}

// Watch calls the function `notice` for each session that another node acquires from this
// one, until ctx is done or the connection breaks. It calls the function `connected` as soon
// as notices can arrive.
func (s *Store) Watch(ctx context.Context, node string, connected func(), notice func(id string)) error {
	if err := s.listen(ctx, s.keys.channel+store.NodeID(node), connected, notice); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}

// listen passes the messages of a channel to the function `notice`, until ctx is done or the
// connection breaks.
func (s *connection) listen(ctx context.Context, channel string, connected func(), notice func(payload string)) error {
	subscription := s.client.Subscribe(ctx, channel)
	defer subscription.Close()
	stop := context.AfterFunc(ctx, func() { _ = subscription.Close() })
	defer stop()
	for silent := false; ; {
		message, err := subscription.ReceiveTimeout(ctx, s.silence)
		switch {
		case ctx.Err() != nil:
			return nil
		case isTimeout(err) && !silent:
			silent = true // the answer to the PING shows that the connection is alive
			if err := subscription.Ping(ctx); err != nil {
				return err
			}
			continue
		case pong(err) != nil:
			return err
		}
		silent = false
		handle(message, connected, notice)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}

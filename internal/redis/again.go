package redis

import (
	"context"
	"errors"
	"io"
	"syscall"

	goredis "github.com/redis/go-redis/v9"
)

// again is a hook that sends a command a second time if its connection was closed before any
// part of the answer arrived. This happens if the server, or a load balancer, closes an idle
// connection just after the pool checked that connection. The server may have executed the
// command the first time, so every command must be safe to repeat.
type again struct{}

func (again) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (again) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		if wasClosed(err) && ctx.Err() == nil {
			cmd.SetErr(nil)
			err = next(ctx, cmd)
		}
		return err
	}
}

func (again) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		if len(cmds) == 0 || ctx.Err() != nil {
			return err
		}
		for _, cmd := range cmds {
			if !wasClosed(cmd.Err()) {
				return err
			}
		}
		for _, cmd := range cmds {
			cmd.SetErr(nil)
		}
		return next(ctx, cmds)
	}
}

// wasClosed reports whether err means that the peer closed the connection.
func wasClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

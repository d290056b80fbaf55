package redis

import (
	"context"
	"errors"
	"io"
	"syscall"

	goredis "github.com/redis/go-redis/v9"
)

// again sends a command once more whose connection turned out to be closed before
// any of the answer came: the server, or a balancer, had closed it as idle, in the
// moment after the pool looked at it. The server may have carried the command out
// all the same, so every command must be one that can be repeated.
type again struct{}

// DialHook implements goredis.Hook.
func (again) DialHook(next goredis.DialHook) goredis.DialHook { return next }

// ProcessHook implements goredis.Hook.
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

// ProcessPipelineHook implements goredis.Hook.
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

// wasClosed reports whether an error is of a connection that the other side closed.
func wasClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

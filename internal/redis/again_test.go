package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	goredis "github.com/redis/go-redis/v9"
)

func TestSentAgainIfTheConnectionWasClosed(t *testing.T) {
	t.Parallel()
	reset := fmt.Errorf("write: %w", syscall.ECONNRESET)
	for name, errs := range map[string][]error{
		"answered":     {nil},
		"closed":       {io.EOF, nil},
		"reset":        {reset, nil},
		"broken pipe":  {syscall.EPIPE, nil},
		"closed twice": {io.EOF, reset},
		"refused":      {errors.New("READONLY")},
		"no answer":    {os.ErrDeadlineExceeded},
		"no server":    {syscall.ECONNREFUSED},
	} {
		last := errs[len(errs)-1]
		sent := 0
		one := func(_ context.Context, cmd goredis.Cmder) error {
			cmd.SetErr(errs[sent])
			sent++
			return cmd.Err()
		}
		cmd := goredis.NewCmd(t.Context(), "x")
		if err := (again{}).ProcessHook(one)(t.Context(), cmd); !errors.Is(err, last) || sent != len(errs) || !errors.Is(cmd.Err(), last) {
			t.Errorf("%s: sent %d times, %v", name, sent, err)
		}
		sent = 0
		many := func(ctx context.Context, cmds []goredis.Cmder) error {
			cmds[0].SetErr(errs[sent])
			return one(ctx, cmds[1])
		}
		cmds := []goredis.Cmder{goredis.NewCmd(t.Context(), "x"), goredis.NewCmd(t.Context(), "y")}
		if err := (again{}).ProcessPipelineHook(many)(t.Context(), cmds); !errors.Is(err, last) || sent != len(errs) || !errors.Is(cmds[0].Err(), last) {
			t.Errorf("%s, in a pipeline: sent %d times, %v", name, sent, err)
		}
	}
}

func TestNotSentAgainAfterAnAnswerOrWithoutACaller(t *testing.T) {
	t.Parallel()
	sent := 0
	partly := func(_ context.Context, cmds []goredis.Cmder) error {
		sent++
		cmds[1].SetErr(io.EOF)
		return io.EOF
	}
	cmds := []goredis.Cmder{goredis.NewCmd(t.Context(), "x"), goredis.NewCmd(t.Context(), "y")}
	if err := (again{}).ProcessPipelineHook(partly)(t.Context(), cmds); !errors.Is(err, io.EOF) || sent != 1 {
		t.Errorf("answered in part: sent %d times, %v", sent, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sent = 0
	closed := func(context.Context, goredis.Cmder) error { sent++; return io.EOF }
	if err := (again{}).ProcessHook(closed)(ctx, goredis.NewCmd(ctx, "x")); !errors.Is(err, io.EOF) || sent != 1 {
		t.Errorf("nobody waits: sent %d times, %v", sent, err)
	}
}

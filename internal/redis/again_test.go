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

// A command is sent once more if its connection was closed before an answer arrived, and
// in no other case.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	reset := fmt.Errorf("write: %w", syscall.ECONNRESET)
	refused := errors.New("READONLY")
	for name, c := range map[string]struct {
		errs []error // errs holds the error of each attempt
		want int     // want is how often the command is sent
	}{
		"answered":     {[]error{nil}, 1},
		"closed":       {[]error{io.EOF, nil}, 2},
		"reset":        {[]error{reset, nil}, 2},
		"broken pipe":  {[]error{syscall.EPIPE, nil}, 2},
		"closed twice": {[]error{io.EOF, reset}, 2},
		"refused":      {[]error{refused}, 1},
		"no answer":    {[]error{os.ErrDeadlineExceeded}, 1},
		"no server":    {[]error{syscall.ECONNREFUSED}, 1},
	} {
		last := c.errs[len(c.errs)-1]
		sent := 0
		one := func(_ context.Context, cmd goredis.Cmder) error {
			cmd.SetErr(c.errs[sent])
			sent++
			return cmd.Err()
		}
		cmd := goredis.NewCmd(t.Context(), "x")
		if err := (again{}).ProcessHook(one)(t.Context(), cmd); !errors.Is(err, last) || sent != c.want || !errors.Is(cmd.Err(), last) {
			t.Errorf("%s: sent %d times, %v", name, sent, err)
		}
		sent = 0
		many := func(_ context.Context, cmds []goredis.Cmder) error {
			for _, cmd := range cmds {
				cmd.SetErr(c.errs[sent])
			}
			sent++
			return cmds[0].Err()
		}
		cmds := []goredis.Cmder{goredis.NewCmd(t.Context(), "x"), goredis.NewCmd(t.Context(), "y")}
		if err := (again{}).ProcessPipelineHook(many)(t.Context(), cmds); !errors.Is(err, last) || sent != c.want || !errors.Is(cmds[1].Err(), last) {
			t.Errorf("%s, in a pipeline: sent %d times, %v", name, sent, err)
		}
	}
}

// A pipeline that was answered in part is not sent again, and neither is a command whose
// context is done.
func TestNotSentAgain(t *testing.T) {
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

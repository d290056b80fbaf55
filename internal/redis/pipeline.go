package redis

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"
)

// call is one call of a script, in a pipeline with others.
type call struct {
	indices []int // what of the caller's it is about
	keys    []string
	args    []any
	result  *goredis.Cmd
}

// run makes the calls in one pipeline. Its error is the first that there was;
// each call has a result, with an error of its own.
func (s *Store) run(ctx context.Context, script *goredis.Script, calls []call) error {
	if len(calls) == 0 {
		return nil
	}
	_, err := s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for i := range calls {
			calls[i].result = script.EvalSha(ctx, p, calls[i].keys, calls[i].args...)
		}
		return nil
	})
	// In a pipeline nothing falls back to EVAL by itself: servers that do not
	// know the script yet are sent it with the first call that they refused.
	unknown := false
	for i := range calls {
		unknown = unknown || goredis.HasErrorPrefix(calls[i].result.Err(), "NOSCRIPT")
	}
	if unknown {
		_, err = s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for i := range calls {
				if goredis.HasErrorPrefix(calls[i].result.Err(), "NOSCRIPT") {
					calls[i].result = script.Eval(ctx, p, calls[i].keys, calls[i].args...)
				}
			}
			return nil
		})
	}
	for i := range calls {
		if callErr := calls[i].result.Err(); callErr != nil {
			return callErr
		}
	}
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	return nil
}

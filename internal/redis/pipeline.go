package redis

import (
	"context"
	"errors"
	"slices"

	goredis "github.com/redis/go-redis/v9"
)

// call is one call of a script, in a pipeline with others.
type call struct {
	indices []int // indices of the caller's records in this call
	keys    []string
	args    []any
	result  *goredis.Cmd
}

// run makes the calls in one pipeline and returns the first error. Each call also has its own
// result, with its own error.
func (s *connection) run(ctx context.Context, script *goredis.Script, calls []call) error {
	if len(calls) == 0 {
		return nil
	}
	all := make([]*call, len(calls))
	for i := range calls {
		all[i] = &calls[i]
	}
	s.send(ctx, script.EvalSha, all)
	// In a pipeline go-redis does not fall back to EVAL by itself. A call that a server
	// refused because it does not know the script is repeated with the script's source.
	var unknown []*call
	for _, c := range all {
		if goredis.HasErrorPrefix(c.result.Err(), "NOSCRIPT") {
			unknown = append(unknown, c)
		}
	}
	if len(unknown) > 0 {
		s.send(ctx, script.Eval, unknown)
	}
	for _, c := range all {
		if err := c.result.Err(); err != nil {
			return err
		}
	}
	return nil
}

// one calls a script once, in a pipeline of its own.
func (s *connection) one(ctx context.Context, script *goredis.Script, keys []string, args ...any) *goredis.Cmd {
	calls := []call{{keys: keys, args: args}}
	_ = s.run(ctx, script, calls)
	return calls[0].result
}

// evaluate is the type of EvalSha, which calls a script by its hash, and of Eval, which sends
// the script's source.
type evaluate func(ctx context.Context, c goredis.Scripter, keys []string, args ...any) *goredis.Cmd

func (s *connection) send(ctx context.Context, how evaluate, calls []*call) {
	_, err := s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, c := range calls {
			c.result = how(ctx, p, c.keys, c.args...)
		}
		return nil
	})
	if err == nil {
		return
	}
	for _, c := range calls {
		if c.result.Err() == nil && c.result.Val() == nil {
			c.result.SetErr(err) // go-redis sets no error on a command that it did not send
		}
	}
	s.lookForMasters(ctx, err)
}

// lookForMasters makes go-redis read the cluster's topology again if a server did not answer.
// By itself go-redis reads it every ten seconds, or when a server redirects a command.
func (s *connection) lookForMasters(ctx context.Context, err error) {
	if _, answered := errors.AsType[goredis.Error](err); answered {
		return
	}
	if cluster, ok := s.client.(*goredis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// pipeline runs commands in one pipeline and returns the first error. The answers "no such
// key" and WRONGTYPE do not count as errors.
func (s *connection) pipeline(ctx context.Context, commands func(goredis.Pipeliner)) error {
	sent, err := s.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		commands(p)
		return nil
	})
	if err == nil {
		return nil
	}
	if !slices.ContainsFunc(sent, func(c goredis.Cmder) bool { return c.Err() != nil }) {
		for _, c := range sent {
			c.SetErr(err) // go-redis sets no error on a command that it did not send
		}
	}
	s.lookForMasters(ctx, err)
	if !harmless(err) {
		return err
	}
	for _, c := range sent {
		if err := c.Err(); err != nil && !harmless(err) {
			return err
		}
	}
	return nil
}

func harmless(err error) bool {
	return errors.Is(err, goredis.Nil) || goredis.HasErrorPrefix(err, "WRONGTYPE")
}

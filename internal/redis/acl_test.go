package redis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"refresher/internal/session"
	"refresher/internal/store"
	"refresher/test/redistest"
)

// acl holds the permissions of the nodes' Redis user with the prefix refresher, read from
// docs/operate/redis.md. Tests fail if a permission is missing or not needed.
var acl = func() string {
	page, err := os.ReadFile("../../docs/operate/redis.md")
	if err != nil {
		panic(err)
	}
	return string(regexp.MustCompile(`(?m)^user refresher on >\S+ (.*)$`).FindSubmatch(page)[1])
}()

// aclCluster lists the permissions that a cluster needs in addition.
const aclCluster = "+cluster|slots +command"

// TestACLOfScripts checks that acl allows each command in the scripts' source.
func TestACLOfScripts(t *testing.T) {
	t.Parallel()
	used := []string{"+eval", "+evalsha", "+expireat", "+get", "+hscan", "+info", "+ping", "+set", "+subscribe", "+zrangebyscore", "+zscan"}
	for _, source := range []string{
		fenceSource, saveSource, acquireSource, wishSource, claimSource, leaseSource, revokeSource,
	} {
		for _, call := range regexp.MustCompile(`call\('([A-Z]+)'`).FindAllStringSubmatch(source, -1) {
			used = append(used, "+"+strings.ToLower(call[1]))
		}
	}
	slices.Sort(used)
	used = slices.Compact(used)
	granted := slices.DeleteFunc(strings.Fields(acl), func(one string) bool { return one[0] != '+' })
	slices.Sort(granted)
	if !slices.Equal(used, granted) {
		t.Errorf("used:    %s\ngranted: %s", used, granted)
	}
}

// limited opens a Store as a user with the permissions in allowed.
func limited(t *testing.T, server *redistest.Server, allowed string) *harness {
	t.Helper()
	server.Do(append([]string{"ACL", "SETUSER", "limited", "reset", "on", ">secret"}, strings.Fields(allowed)...)...)
	server.Do("ACL", "LOG", "RESET")
	return open(t, "redis://limited:secret@"+server.Addr(), nil)
}

func TestACL(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "user default off")
	s := limited(t, server, acl)
	s.allWork(t)
	if err := s.rareWork(t, server); err != nil {
		t.Error(err)
	}
	if err := s.client.Ping(within(t)).Err(); err != nil {
		t.Error(err)
	}
	if denied := server.Do("ACL", "LOG"); denied != "" {
		t.Errorf("denied:\n%s", denied)
	}
	if warnings := s.log.lines("WARN"); len(warnings) > 0 {
		t.Error(warnings)
	}
}

// TestACLIsMinimal removes one permission at a time and expects an error each time,
// except for two permissions.
func TestACLIsMinimal(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "user default off")
	for one := range strings.FieldsSeq(acl) {
		server.Do("FLUSHALL")
		server.Do("SCRIPT", "FLUSH")
		s := limited(t, server, strings.Replace(acl+" ", one+" ", "", 1))
		err := s.tryAll(within(t))
		if err == nil {
			err = s.rareWork(t, server)
		}
		if one == "+ping" {
			s.silence = time.Millisecond
			err = s.Watch(within(t), "a", func() {}, func(string) {})
		}
		switch denied := server.Do("ACL", "LOG"); {
		case denied == "":
			t.Errorf("%s is not needed", one)
		case one == "+info": // see TestWithoutINFO
			if err != nil {
				t.Errorf("without %s: %v", one, err)
			}
		case one == "+publish": // see TestUnpublished
			if !errors.Is(err, errUnnoticed) {
				t.Errorf("without %s: %v", one, err)
			}
		case err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "can't run this command"):
			t.Errorf("without %s: %v", one, err)
		}
	}
}

// TestWithoutINFO uses a Redis user that may not use INFO: all operations work, and a
// loss of data still changes a shard's generation, but no warning of eviction is logged.
func TestWithoutINFO(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "user default off", "maxmemory-policy allkeys-lru")
	s := limited(t, server, strings.Replace(acl+" ", "+info ", "", 1))
	s.allWork(t)
	generation := s.generation(t)
	if strings.TrimSpace(generation) == "" {
		t.Error("no generation")
	}
	server.Do("FLUSHALL")
	if again := s.generation(t); again == generation {
		t.Error("FLUSHALL does not change the generation")
	}
	if got := s.log.lines("WARN"); len(got) != 0 {
		t.Error(got)
	}
}

// rareShard is the shard of the sessions of rareWork.
const rareShard = 7

var errUnnoticed = errors.New("no notice came")

// rareWork does the operations that tryAll does not: rare ones and those that concern
// other nodes. server holds rareShard.
func (s *harness) rareWork(t *testing.T, server *redistest.Server) error {
	t.Helper()
	ctx := within(t)
	notices := make(chan string, 8)
	stop, err := listening(ctx, func(ctx context.Context, connected func()) error {
		return s.Watch(ctx, "a", connected, func(id string) { notices <- id })
	})
	defer stop()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	taken, ended, lone := overdue(idIn(rareShard, 1)), record(idIn(rareShard, 2)), overdue(idIn(rareShard, 3))
	ended.State, ended.Reason, ended.Delivered = session.Ended, session.EndRevoked, store.DeliveredEnd
	ended.Terms.Until = session.SecOf(time.Now()) + 3600
	if _, err := s.Save(ctx, []store.Record{taken, ended, lone}); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if _, err := s.Acquire(ctx, store.AcquireRequest{Session: taken.Session, Epoch: 1, Node: "b"}); err != nil {
		return err
	}
	server.Do("PUBLISH", s.keys.channel+"a", "the last")
	// On a cluster, notices of earlier operations may still arrive.
	for got := ""; got != taken.Session; {
		if got = await(t, notices); got == "the last" {
			return errUnnoticed
		}
	}
	server.Do("DEL", s.hash(lone.Session))
	if _, err := s.sweep(ctx, "c"); err != nil {
		return err
	}
	return s.rareRevocations(ctx)
}

// listening runs a watch and returns a function that stops it. The error is not nil if
// the watch could not begin.
func listening(ctx context.Context, watch func(ctx context.Context, connected func()) error) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	connected, watched := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(watched)
		watched <- watch(ctx, sync.OnceFunc(func() { close(connected) }))
	}()
	stop = func() {
		cancel()
		<-watched
	}
	select {
	case <-connected:
		return stop, nil
	case err := <-watched:
		return stop, err
	}
}

// rareRevocations watches for changes, and removes an expired revocation.
func (s *harness) rareRevocations(ctx context.Context) error {
	stop, err := listening(ctx, func(ctx context.Context, connected func()) error {
		return s.WatchRevocations(ctx, func(store.RevocationsChange) { connected() })
	})
	defer stop()
	if err != nil {
		return err
	}
	if err := s.PutRevocations(ctx, revocation("over")); err != nil {
		return err
	}
	if err := s.client.ZAdd(ctx, s.keys.revocations.until, goredis.Z{Score: 1, Member: "over"}).Err(); err != nil {
		return err
	}
	return s.PutRevocations(ctx, revocation("another"))
}

// generation returns the generation of the first shard.
func (s *harness) generation(t *testing.T) string {
	t.Helper()
	swept := s.doing(t, "a", store.Claim)[0]
	if swept.Err != nil {
		t.Fatal(swept.Err)
	}
	return swept.Generation
}

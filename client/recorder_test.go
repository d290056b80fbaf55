package client_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"refresher/test/nodetest"
)

// sdk is a fake of Agora's SDK. It accepts only a token that differs from the previous one.
type sdk struct {
	calls chan string
	last  string
	left  bool
}

func (s *sdk) Join(_ context.Context, channel string, _ uint32, token string) error {
	return s.take("join "+channel, token)
}

func (s *sdk) RenewToken(_ context.Context, token string) error { return s.take("renew", token) }
func (s *sdk) OnTokenWillExpire(func())                         {}
func (s *sdk) Leave()                                           { s.left = true }

func (s *sdk) take(call, token string) error {
	if !strings.HasPrefix(token, "007") || token == s.last {
		return errors.New("no new token")
	}
	s.last = token
	s.calls <- call
	return nil
}

func (s *sdk) await(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-s.calls:
		if got != want {
			t.Fatalf("the SDK was called for %q, want %q", got, want)
		}
	case <-time.After(nodetest.Patience):
		t.Fatalf("no %s", want)
	}
}

// TestRecorder runs the recorder of the example against a real node: its tokens are renewed, it resumes after
// the node was killed and started again, and it leaves.
func TestRecorder(t *testing.T) {
	node := nodetest.New(t, "node", "--min-ttl=4s", "--token-ttl=8s")
	node.Start()
	fake := &sdk{calls: make(chan string, 100)}
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- record(ctx, "ws://"+node.Addr()+"/v1/ws", func(context.Context) (string, error) { return "", nil }, fake, slog.New(slog.DiscardHandler))
	}()
	fake.await(t, "join daily")
	fake.await(t, "renew")
	node.Kill()
	node.Start()
	node.Await(1, "session resumed")
	fake.await(t, "renew")
	hangUp()
	if err := <-done; err != nil || !fake.left {
		t.Errorf("record returns %v; left %v", err, fake.left)
	}
	node.Await(1, "session ended")
	if left := node.Logged(`"reason":"left"`); len(left) != 1 {
		t.Errorf("logged: %q", left)
	}
	node.Stop()
}

// TestExampleIsDocumented checks that docs/build/recorders.md contains the recorder of example_test.go.
func TestExampleIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/build/recorders.md")
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(page), "```go\n")
	shown, _, found := strings.Cut(shown, "```\n")
	if !found || !strings.Contains(string(code), shown) {
		t.Errorf("docs/build/recorders.md shows what is not in example_test.go:\n%s", shown)
	}
}

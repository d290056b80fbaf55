package main

import (
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"refresher/client"
	"refresher/test/program"
	"refresher/test/redistest"
)

// With more clients than file descriptors, an existing call goes on, probes are answered, the node reconnects to Redis
// after an outage, and it can still read files.
func TestDescriptorsAreKeptBack(t *testing.T) {
	const limit, clients = 64, 80
	redis := redistest.Start(t)
	addr, ops := program.Address(t), program.Address(t)
	certificates := filepath.Join(t.TempDir(), "certificates")
	write := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(certificates, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(certificate)
	c := command(t, []string{"AGORA_APP_ID=" + appID, "REFRESHER_APP_CERTIFICATE_FILE=" + certificates}, "serve", "--auth=none",
		"--listen="+addr, "--ops-listen="+ops, "--redis-url="+redis.URL(), "--min-ttl=4s", "--drain-window=0", "--log-format=json")
	limited(c, limit)
	s := serve(t, c)
	probe := func() {
		t.Helper()
		for _, args := range [][]string{{"health"}, {"health", "--ready"}} {
			if _, stderr, code := run(t, []string{"REFRESHER_OPS_LISTEN=" + ops}, args...); code != 0 {
				t.Errorf("%v: exit %d, %s", args, code, stderr)
			}
		}
	}
	call := holdCall(t, addr)
	call.awaitRenewal()

	held := flood(t, addr, clients)
	if held == 0 || held > limit-30 {
		t.Errorf("%d of %d clients got in", held, clients)
	}
	s.find(`"out of file descriptors for clients`)
	probe()
	call.awaitRenewal()

	redis.Kill()
	s.find(`"the store cannot be reached`)
	flood(t, addr, clients) // without a reserve, they would take the lost Redis connections' descriptors
	probe()
	redis.Restart()
	s.find(`"the store is back`)
	write(hex.EncodeToString(make([]byte, 16)), certificate)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.find(`"tokens are signed with another certificate`)
	probe()
	call.awaitRenewal()
	call.end()
	s.stop(syscall.SIGTERM)
}

// The soft limit, which many systems set to 1,024, does not restrict a node.
func TestDescriptorsUpToTheHardLimit(t *testing.T) {
	addr, ops := program.Address(t), program.Address(t)
	c := command(t, credentialsEnv, "serve", "--auth=none", "--listen="+addr, "--ops-listen="+ops, "--drain-window=0")
	limitedBy(c, "ulimit -Sn 64 && ulimit -Hn 200")
	s := serve(t, c)
	// Go's runtime may leave the last descriptor unused.
	if have := (&loggingService{t: t, ops: ops}).metric("process_max_fds"); have < 199 || have > 200 {
		t.Errorf("may have %v descriptors, want 199 or 200", have)
	}
	s.stop(syscall.SIGTERM)
}

// limited makes a command run with at most the given number of file descriptors.
func limited(c *exec.Cmd, limit int) { limitedBy(c, "ulimit -n "+strconv.Itoa(limit)) }

// limitedBy makes a command run under a ulimit that a shell sets.
func limitedBy(c *exec.Cmd, ulimit string) {
	c.Args = append([]string{"/bin/sh", "-c", ulimit + ` && exec "$0" "$@"`, c.Path}, c.Args[1:]...)
	c.Path = "/bin/sh"
}

// flood opens connections, and returns how many of them the node accepted; the node refused all others. The connections
// stay open until the test ends.
func flood(t *testing.T, addr string, clients int) (held int) {
	t.Helper()
	for range clients {
		c, answer, err := websocket.Dial(t.Context(), "ws://"+addr+"/v1/ws", nil)
		if err != nil {
			if answer != nil {
				t.Errorf("answered %s", answer.Status)
			}
			continue
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		held++
	}
	return held
}

// heldCall is a call of the Go client.
type heldCall struct {
	t        *testing.T
	renewals chan struct{}
	lost     chan error // at most one
	end      func()
}

// holdCall joins a call whose tokens have a lifetime of 4 s.
func holdCall(t *testing.T, addr string) *heldCall {
	t.Helper()
	h := &heldCall{t: t, renewals: make(chan struct{}, 1), lost: make(chan error, 1)}
	c := client.New(client.Config{
		URL: "ws://" + addr + "/v1/ws",
		RTC: &client.RTC{Channel: "c", UID: 1}, TTL: 4 * time.Second,
		Apply: func(_ context.Context, b client.Tokens) error {
			select {
			case h.renewals <- struct{}{}:
			default: // the test did not wait for the previous renewal, so its signal is still in the channel
			}
			return nil
		},
		Notify: func(n client.Event) {
			if n.Kind == client.Lost {
				select {
				case h.lost <- n.Err:
				default:
				}
			}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(ctx) // returns the error of the cancelled ctx
	}()
	h.end = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(h.end)
	return h
}

func (h *heldCall) awaitRenewal() {
	h.t.Helper()
	select {
	case <-h.renewals: // discard an earlier renewal
	default:
	}
	select {
	case <-h.renewals:
	case err := <-h.lost: // it cannot reconnect: other clients have all descriptors
		h.t.Fatalf("the call was cut: %v", err)
	}
}

package generator

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/internal/access"
	"refresher/internal/app"
	"refresher/internal/project"
	"refresher/internal/session"
)

// nodeEnv makes the test binary a node of the service, in a process of its own, so
// that its processor time and memory can be told from those of the calls. It holds
// the heartbeat in seconds, the join rate, and the URL of Redis or a hyphen.
const nodeEnv = "REFRESHER_TEST_NODE"

// runNode serves until standard input ends.
func runNode(order string) error {
	var heartbeat int
	var joinRate float64
	var redisURL string
	if _, err := fmt.Sscan(order, &heartbeat, &joinRate, &redisURL); err != nil {
		return fmt.Errorf("%s: %w", nodeEnv, err)
	}
	c := app.Config{
		Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", IdleTimeout: 650 * time.Second, Rules: access.Rules{Auth: "none"},
		Settings: project.Settings{Projects: []project.Project{{AppID: strings.Repeat("a", 32), Certificates: []string{strings.Repeat("b", 32)}}}},
		Policy: session.Policy{
			TTL: time.Hour, MinTTL: 4 * time.Second, MaxTTL: 24 * time.Hour, MaxSession: 48 * time.Hour,
			AckTimeout: 5 * time.Second, ResumeWindow: 2 * time.Minute,
		},
		Heartbeat: time.Duration(heartbeat) * time.Second, JoinRate: joinRate,
	}
	if redisURL != "-" {
		c.Redis.URL, c.Redis.Prefix = redisURL, "refresher"
	}
	a, err := app.New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	fmt.Println(a.Addr())
	return a.Run(ctx, ctx, nil)
}

// node is one that runs.
type node struct {
	tb      testing.TB
	child   *exec.Cmd
	stdin   io.WriteCloser
	address string
}

func startNode(tb testing.TB, heartbeat int, joinRate float64, redisURL string) *node {
	tb.Helper()
	child := exec.CommandContext(tb.Context(), os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d %v %s", nodeEnv, heartbeat, joinRate, redisURL))
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := child.Start(); err != nil {
		tb.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return &node{tb: tb, child: child, stdin: stdin, address: strings.TrimSpace(line)}
}

func (n *node) url() string { return "ws://" + n.address + "/v1/ws" }

// stop ends it in good order.
func (n *node) stop() {
	n.tb.Helper()
	_ = n.stdin.Close()
	if err := n.child.Wait(); err != nil {
		n.tb.Fatal(err)
	}
}

// cpu is the processor time that it has used, in user and kernel mode.
func (n *node) cpu() time.Duration {
	n.tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.child.Process.Pid))
	if err != nil {
		n.tb.Fatal(err)
	}
	// The name in brackets may have spaces; utime and stime are fields 14 and 15.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] {
		t, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			n.tb.Fatal(err)
		}
		ticks += t
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// resident is its resident memory in bytes.
func (n *node) resident() int64 {
	return kilobytes(n.tb, fmt.Sprintf("/proc/%d/status", n.child.Process.Pid), "VmRSS:")
}

// kilobytes reads a line such as "VmRSS:  123 kB" of a file, as bytes.
func kilobytes(tb testing.TB, file, name string) int64 {
	tb.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return kb << 10
		}
	}
	tb.Fatalf("%s has no %s", file, name)
	return 0
}

package chaos

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// node is one `refresher serve`, over all its runs. Its methods fail the test,
// so they are for the test's goroutine.
type node struct {
	t       *testing.T
	name    string
	address string // of the public port, the same in each run
	flags   []string
	log     journal
	// artifacts is the folder for what is kept of a failed test.
	artifacts string

	process *process
	ops     string      // address of the operations port; of this run
	mark    int         // lines in the log when the last fault began
	ending  bool        // the test ended it
	paused  atomic.Bool // read by the fleet
}

// newNode prepares a node that does not run yet.
func newNode(t *testing.T, name string, flags ...string) *node {
	t.Helper()
	// Asked for here, the folder is still there in the cleanup.
	n := &node{t: t, name: name, address: freeAddress(t), flags: flags, artifacts: t.ArtifactDir()}
	t.Cleanup(func() {
		if n.process == nil {
			return
		}
		if n.process.ended() && !n.ending {
			t.Errorf("%s ended by itself: %v", n.name, n.process.state)
		}
		n.process.kill()
		if t.Failed() {
			n.show()
		}
	})
	return n
}

// show shows the end of the log, and keeps all of it where go test was asked to.
func (n *node) show() {
	n.t.Logf("the log of %s ends with:\n%s", n.name, n.log.text(tailLines))
	file := filepath.Join(n.artifacts, n.name+".log")
	if err := os.WriteFile(file, []byte(n.log.text(n.log.len())), 0o600); err != nil {
		n.t.Error(err)
	}
}

// start runs the node and returns when it serves.
func (n *node) start() {
	n.t.Helper()
	from := n.log.len()
	args := append([]string{
		"serve", "--auth=none", "--listen=" + n.address, "--ops-listen=127.0.0.1:0",
		"--log-format=json", "--drain-window=" + drainWindow.String(),
	}, n.flags...)
	env := []string{"AGORA_APP_ID=" + appID, "AGORA_APP_CERTIFICATE=" + certificate}
	p, err := startProcess(&n.log, n.t.TempDir(), env, binary, args...)
	if err != nil {
		n.t.Fatalf("start %s: %v", n.name, err)
	}
	n.process, n.ending = p, false
	serving, err := n.log.await(from, 1, "serving", p.done)
	if err != nil {
		n.t.Fatalf("start %s: %v", n.name, err)
	}
	n.ops = serving.OpsAddress
}

// kill ends the node as a crash would.
func (n *node) kill() {
	n.mark, n.ending = n.log.len(), true
	n.process.kill()
}

// stop ends the node as a deployment does, and returns when it has.
func (n *node) stop() {
	n.t.Helper()
	n.mark, n.ending = n.log.len(), true
	if err := n.process.signal(syscall.SIGTERM); err != nil {
		n.t.Fatalf("stop %s: %v", n.name, err)
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-n.process.done:
	case <-timeout.C:
		n.t.Fatalf("%s does not stop", n.name)
	}
	if code := n.process.state.ExitCode(); code != 0 {
		n.t.Errorf("%s stopped with %v; want exit status 0", n.name, n.process.state)
	}
}

// pause stops the node in its tracks, as if its machine hung: connections stay,
// the system even takes new ones, and nothing is answered.
func (n *node) pause() {
	n.t.Helper()
	n.paused.Store(true)
	if err := n.process.pause(); err != nil {
		n.t.Fatalf("pause %s: %v", n.name, err)
	}
	n.mark = n.log.len()
}

// resume lets a paused node run again.
func (n *node) resume() {
	n.t.Helper()
	if err := n.process.signal(syscall.SIGCONT); err != nil {
		n.t.Fatalf("continue %s: %v", n.name, err)
	}
	n.paused.Store(false)
}

// await waits until the node has logged a message so many times since the last
// mark.
func (n *node) await(times int, message string) {
	n.t.Helper()
	if _, err := n.log.await(n.mark, times, message, n.process.done); err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
}

// drainWindow is a deployment's, shortened.
const drainWindow = 2 * time.Second

// Ports are drawn from below those that the system hands out by itself (32768
// and up on Linux), and above those of redistest: a node that is started again
// wants its port back, and nothing else must have it by then.
const (
	firstPort = 30_000
	endPort   = 32_768
)

// freeAddress returns an address of this machine that is free at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	var err error
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(endPort-firstPort)))
		var listener net.Listener
		if listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address); err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal(fmt.Errorf("no free port: %w", err))
	return ""
}

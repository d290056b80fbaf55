package nodetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"refresher/test/program"
)

// Patience is how long anything that is waited for may take. Only a test that
// fails anyway waits so long.
const Patience = 90 * time.Second

// tailLines is how much of a node's log a failed test shows.
const tailLines = 40

// DrainWindow is a deployment's, shortened: nodes have it unless their flags say
// otherwise.
const DrainWindow = 2 * time.Second

// Node is one `refresher serve`, over all its runs. Its methods fail the test, so
// they are for the test's goroutine, but for Name, Addr and Paused.
type Node struct {
	t         testing.TB
	name      string
	address   string
	flags     []string
	env       []string // beside the project's
	log       program.Journal
	artifacts string // the folder for what is kept of a failed test

	process *program.Process
	ops     string      // address of the operations port; of this run
	mark    int         // lines in the log when Await's span began
	ending  bool        // the test ended it
	paused  atomic.Bool // read by fleets
}

// New prepares a node that does not run yet, under a name for the test's log.
func New(t testing.TB, name string, flags ...string) *Node {
	t.Helper()
	// Asked for here, the folder is still there in the cleanup.
	n := &Node{t: t, name: name, address: program.Address(t), flags: flags, artifacts: t.ArtifactDir()}
	t.Cleanup(func() {
		if n.process == nil {
			return
		}
		if n.process.Ended() && !n.ending {
			t.Errorf("%s ended by itself: %v", n.name, n.process.State())
		}
		n.process.Kill()
		if t.Failed() {
			n.show()
		}
	})
	return n
}

// Setenv gives the node's next runs a variable besides, as name=value.
func (n *Node) Setenv(variable string) { n.env = append(n.env, variable) }

// Start runs the node and returns when it serves.
func (n *Node) Start() {
	n.t.Helper()
	from := n.log.Len()
	p, err := program.Start(&n.log, program.Command{
		Path: Program(n.t), Args: n.args(), Dir: n.t.TempDir(),
		Env: append(n.project(), n.env...),
	})
	if err != nil {
		n.t.Fatalf("start %s: %v", n.name, err)
	}
	n.process, n.ending = p, false
	serving, err := n.await(from, 1, "serving")
	if err != nil {
		n.t.Fatalf("start %s: %v", n.name, err)
	}
	n.ops = serving.OpsAddress
}

// project is the environment of the tests' project, without the certificate if the test
// has a file for it.
func (n *Node) project() []string {
	env := []string{"AGORA_APP_ID=" + AppID}
	if !slices.ContainsFunc(n.flags, func(f string) bool { return strings.HasPrefix(f, "--app-certificate-file=") }) {
		env = append(env, "AGORA_APP_CERTIFICATE="+Certificate)
	}
	return env
}

// args are a node's flags: the test's, and what it left open.
func (n *Node) args() []string {
	args := append([]string{"serve"}, n.flags...)
	for _, usual := range []string{
		"--auth=none", "--listen=" + n.address, "--ops-listen=" + program.At(0),
		"--log-format=json", "--drain-window=" + DrainWindow.String(),
	} {
		name, _, _ := strings.Cut(usual, "=")
		if !slices.ContainsFunc(n.flags, func(f string) bool { return f == name || strings.HasPrefix(f, name+"=") }) {
			args = append(args, usual)
		}
	}
	return args
}

// Kill ends the node as a crash would.
func (n *Node) Kill() {
	n.mark, n.ending = n.log.Len(), true
	n.process.Kill()
}

// Terminate asks the node to stop, as a deployment does, and does not wait.
func (n *Node) Terminate() {
	n.t.Helper()
	n.mark, n.ending = n.log.Len(), true
	if err := n.process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatalf("stop %s: %v", n.name, err)
	}
}

// Stop ends the node as a deployment does, and returns when it has. It fails the
// test if the exit status is not 0.
func (n *Node) Stop() {
	n.t.Helper()
	n.Terminate()
	n.AwaitEnd()
}

// AwaitEnd waits for the end of a node that was asked to stop.
func (n *Node) AwaitEnd() {
	n.t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	select {
	case <-n.process.Done():
	case <-timeout.C:
		n.t.Fatalf("%s does not stop", n.name)
	}
	if state := n.process.State(); state.ExitCode() != 0 {
		n.t.Errorf("%s stopped with %v; want exit status 0", n.name, state)
	}
}

// Pause stops the node in its tracks, as if its machine hung: connections stay,
// the system even takes new ones, and nothing is answered.
func (n *Node) Pause() {
	n.t.Helper()
	n.paused.Store(true)
	if err := n.process.Pause(); err != nil {
		n.t.Fatalf("pause %s: %v", n.name, err)
	}
	n.Mark()
}

// Resume lets a paused node run again.
func (n *Node) Resume() {
	n.t.Helper()
	if err := n.process.Resume(); err != nil {
		n.t.Fatalf("continue %s: %v", n.name, err)
	}
	n.paused.Store(false)
}

// Paused tells whether the node is paused. It is for any goroutine.
func (n *Node) Paused() bool { return n.paused.Load() }

// Name is what the test calls the node.
func (n *Node) Name() string { return n.name }

// Addr is the public port, as host:port, the same in each run.
func (n *Node) Addr() string { return n.address }

// OpsAddr is the operations port, as host:port, of the run that began last.
func (n *Node) OpsAddr() string { return n.ops }

// Ended tells whether the node does not run.
func (n *Node) Ended() bool { return n.process == nil || n.process.Ended() }

// Mark has Await look at what is logged from now on, as Kill, Stop and Pause do.
func (n *Node) Mark() { n.mark = n.log.Len() }

// show shows the end of the log, and keeps all of it where go test was asked to.
func (n *Node) show() {
	n.t.Logf("the log of %s ends with:\n%s", n.name, n.log.Tail(tailLines))
	file := filepath.Join(n.artifacts, n.name+".log")
	if err := os.WriteFile(file, []byte(n.log.Tail(n.log.Len())), 0o600); err != nil {
		n.t.Error(err)
	}
}

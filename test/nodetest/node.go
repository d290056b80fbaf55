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

// Patience is the longest time that a test waits for anything. Only a failing test waits for so long.
const Patience = 90 * time.Second

const tailLines = 40

// DrainWindow is the drain window of nodes unless their flags set another. It is shorter than in a deployment, so that
// nodes stop quickly.
const DrainWindow = 2 * time.Second

// Node is one `refresher serve` process on one address, over all its runs. Only the test's goroutine may use its
// methods, since they can fail the test; Name, Addr and Paused are the exceptions.
type Node struct {
	t         testing.TB
	name      string
	address   string
	flags     []string
	env       []string // variables that are added to those that the method `project` returns
	log       program.Journal
	artifacts string

	process *program.Process
	ops     string // address of the operations port in the current run
	mark    int
	ending  bool        // set when the test begins to end the node on purpose
	paused  atomic.Bool // fleets read this field from any goroutine
}

// New prepares a node, which Start runs. The test's log uses the name.
func New(t testing.TB, name string, flags ...string) *Node {
	t.Helper()
	// The folder for artifacts is requested here, since the cleanup below runs too late to request it.
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

// Setenv adds a variable, as name=value, to the environment of the node's next runs.
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

// project returns the environment of the tests' project, without the certificate if the flags
// name a file for it.
func (n *Node) project() []string {
	env := []string{"AGORA_APP_ID=" + AppID}
	if !slices.ContainsFunc(n.flags, func(f string) bool { return strings.HasPrefix(f, "--app-certificate-file=") }) {
		env = append(env, "AGORA_APP_CERTIFICATE="+Certificate)
	}
	return env
}

// args returns the test's own flags, and the defaults for all other flags.
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

// Kill ends the node by SIGKILL, like a crash.
func (n *Node) Kill() {
	n.mark, n.ending = n.log.Len(), true
	n.process.Kill()
}

// Stop ends the node as a deployment does, and returns when it has ended. It fails the test if
// the exit status is not 0.
func (n *Node) Stop() {
	n.t.Helper()
	n.mark, n.ending = n.log.Len(), true
	if err := n.process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatalf("stop %s: %v", n.name, err)
	}
	select {
	case <-n.process.Done():
	case <-time.After(Patience):
		n.t.Fatalf("%s does not stop", n.name)
	}
	if state := n.process.State(); state.ExitCode() != 0 {
		n.t.Errorf("%s stopped with %v; want exit status 0", n.name, state)
	}
}

// Pause stops the node by SIGSTOP, as if its machine hung. Its connections stay open, and the system even accepts new
// ones, but no request is answered.
func (n *Node) Pause() {
	n.t.Helper()
	n.paused.Store(true)
	if err := n.process.Pause(); err != nil {
		n.t.Fatalf("pause %s: %v", n.name, err)
	}
	n.Mark()
}

// Resume continues a paused node.
func (n *Node) Resume() {
	n.t.Helper()
	if err := n.process.Resume(); err != nil {
		n.t.Fatalf("continue %s: %v", n.name, err)
	}
	n.paused.Store(false)
}

// Paused reports whether the node is paused. Any goroutine may call it.
func (n *Node) Paused() bool { return n.paused.Load() }

// Name returns the node's name in the test's log.
func (n *Node) Name() string { return n.name }

// Addr returns the public address, as host:port. It is the same in each run.
func (n *Node) Addr() string { return n.address }

// OpsAddr returns the address of the operations port in the last run, as host:port.
func (n *Node) OpsAddr() string { return n.ops }

// Ended reports whether the node is not running.
func (n *Node) Ended() bool { return n.process == nil || n.process.Ended() }

// Mark makes Await ignore all log lines so far. Kill, Stop and Pause do so, too.
func (n *Node) Mark() { n.mark = n.log.Len() }

func (n *Node) show() {
	n.t.Logf("the log of %s ends with:\n%s", n.name, n.log.Tail(tailLines))
	file := filepath.Join(n.artifacts, n.name+".log")
	if err := os.WriteFile(file, []byte(n.log.Tail(n.log.Len())), 0o600); err != nil {
		n.t.Error(err)
	}
}

package program

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// ErrEnded means that the program has ended.
var ErrEnded = errors.New("the program has ended")

// Command is a program to run, for Start.
type Command struct {
	// Path is the program, as in exec.Command.
	Path string
	// Args are the arguments, without the program's name.
	Args []string
	// Dir is the program's working folder. Empty means the working folder of the test.
	Dir string
	// Env is the program's whole environment. Nil means the environment of the test.
	Env []string
	// Guarded is for a program such as nginx, whose child processes outlive it. If Guarded is set, the death of the
	// test binary also kills the child processes.
	Guarded bool
}

// Process is one run of a program. It has a process group of its own, so that a Ctrl-C reaches
// only the tests, and Kill and Pause reach its children too. It is safe for concurrent use.
type Process struct {
	pid   int
	group int
	done  chan struct{}    // closed when the program has ended and all its output is read
	state *os.ProcessState // its exit state; set before done is closed
}

// Start runs a program, and copies its standard output and standard error to the journal.
func Start(log *Journal, c Command) (*Process, error) {
	p := &Process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		// attributes asks Linux to kill the program when the thread that started it ends. So this goroutine keeps its
		// thread while the program runs. The thread ends with the goroutine, since the goroutine never unlocks it.
		runtime.LockOSThread()
		cmd := exec.Command(c.Path, c.Args...) //nolint:gosec,noctx // the test's own; Kill ends it, after the test's context too.
		cmd.Dir, cmd.Env = c.Dir, c.Env
		cmd.SysProcAttr = attributes()
		if c.Guarded {
			group, release, err := guard()
			if err != nil {
				started <- err
				return
			}
			defer release()
			p.group, cmd.SysProcAttr.Pgid = group, group
		}
		output, err := cmd.StdoutPipe()
		if err == nil {
			cmd.Stderr = cmd.Stdout
			err = cmd.Start()
		}
		if err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		if p.group == 0 {
			p.group = p.pid
		}
		started <- nil
		log.copy(output)
		_ = cmd.Wait() // the error of Wait only repeats cmd.ProcessState
		p.state = cmd.ProcessState
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID returns the program's process id.
func (p *Process) PID() int { return p.pid }

// Done returns a channel that is closed when the program has ended, its children have closed
// its outputs, and all their output is in the journal.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether Done is closed.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// State returns the program's exit state, or nil while it runs.
func (p *Process) State() *os.ProcessState {
	if !p.Ended() {
		return nil
	}
	return p.state
}

// Signal sends a signal to the program but not to its children.
func (p *Process) Signal(signal syscall.Signal) error { return p.send(p.pid, signal) }

// Kill ends the program and its children, even paused ones, and returns when they have ended.
func (p *Process) Kill() {
	_ = p.send(-p.group, syscall.SIGKILL) // the program may have ended already
	<-p.done
}

// Pause stops the program and its children by SIGSTOP, as if their machine hung, and returns
// when the program has stopped.
func (p *Process) Pause() error {
	if err := p.send(-p.group, syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		_, err := syscall.Wait4(p.pid, nil, syscall.WUNTRACED, nil)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Resume continues a paused program.
func (p *Process) Resume() error { return p.send(-p.group, syscall.SIGCONT) }

func (p *Process) send(to int, signal syscall.Signal) error {
	// After a process has ended, its id may belong to another process.
	if p.Ended() {
		return ErrEnded
	}
	return syscall.Kill(to, signal)
}

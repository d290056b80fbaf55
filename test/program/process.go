package program

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// ErrEnded says that a program has ended.
var ErrEnded = errors.New("the program has ended")

// Command is what Start runs.
type Command struct {
	// Path is the program, as exec.Command takes it.
	Path string
	// Args are its arguments, without its name.
	Args []string
	// Dir is the folder in which it runs. Empty means the test's.
	Dir string
	// Env is its whole environment. Nil means the test's.
	Env []string
	// Guarded is for a program whose children do not die with it, such as
	// nginx: they die with a test binary that is killed, too.
	Guarded bool
}

// Process is one run of a program. It has a process group of its own, so that a Ctrl-C is
// for the tests alone, and Kill and Pause reach its children too. It is safe for
// concurrent use.
type Process struct {
	pid   int
	group int              // that it is in
	done  chan struct{}    // closed when it has ended and all it said is read
	state *os.ProcessState // how it ended; set before done is closed
}

// Start runs a program, and copies what it says, on both its outputs, to the
// journal.
func Start(log *Journal, c Command) (*Process, error) {
	p := &Process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		// The signal that comes with a parent's death comes with the death of
		// the thread that started the process. So that thread stays for as long
		// as the process does, and as it is never unlocked it ends with this
		// goroutine.
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
		_ = cmd.Wait() // the state says it as well
		p.state = cmd.ProcessState
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// PID is the program's process id.
func (p *Process) PID() int { return p.pid }

// Done is closed when the program has ended, its children have let go of its
// outputs, and all that they said is in the journal.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended tells whether Done is closed.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// State is how the program ended; nil while it runs.
func (p *Process) State() *os.ProcessState {
	if !p.Ended() {
		return nil
	}
	return p.state
}

// Signal sends a signal to the program, and not to its children.
func (p *Process) Signal(signal syscall.Signal) error { return p.send(p.pid, signal) }

// Kill ends the program and its children, paused or not, and returns when they
// are gone.
func (p *Process) Kill() {
	_ = p.send(-p.group, syscall.SIGKILL) // it may have ended by itself
	<-p.done
}

// Pause halts the program and its children, as if their machine hung, and returns
// when the program runs no more.
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

// Resume lets a paused program go on.
func (p *Process) Resume() error { return p.send(-p.group, syscall.SIGCONT) }

func (p *Process) send(to int, signal syscall.Signal) error {
	// The number of a process that has ended may be another's by now.
	if p.Ended() {
		return ErrEnded
	}
	return syscall.Kill(to, signal)
}

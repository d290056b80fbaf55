package chaos

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// process is one run of a node.
type process struct {
	pid   int
	done  chan struct{}    // closed when it has ended and all it logged is read
	state *os.ProcessState // how it ended; set before done is closed
}

// startProcess runs a program in a folder, with nothing in its environment but
// env, and copies what it says to the log.
func startProcess(log *journal, dir string, env []string, program string, args ...string) (*process, error) {
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		// The signal that comes with a parent's death comes with the death of
		// the thread that started the process. So that thread stays for as long
		// as the process does, and as it is never unlocked it ends with this
		// goroutine.
		runtime.LockOSThread()
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, env
		cmd.SysProcAttr = attributes()
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

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process, stopped or not, and returns when it is gone.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL) // it may have ended by itself
	<-p.done
}

// pause halts the process, and returns when it runs no more.
func (p *process) pause() error {
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		_, err := syscall.Wait4(p.pid, nil, syscall.WUNTRACED, nil)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (p *process) signal(signal syscall.Signal) error {
	// The number of a process that has ended may be another's by now.
	if p.ended() {
		return errEnded
	}
	return syscall.Kill(p.pid, signal)
}

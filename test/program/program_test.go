package program

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

func TestJournal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j Journal
		running := make(chan struct{})
		says := func(text string) func(Line) bool { return func(l Line) bool { return l.Text == text } }
		began := time.Now()
		if err := j.Await(0, running, patience, says("never")); err == nil || time.Since(began) != patience {
			t.Errorf("Await: %v after %v", err, time.Since(began))
		}

		j.add("ready")
		from := j.Len()
		result := make(chan error)
		go func() { result <- j.Await(from, running, patience, says("ready")) }()
		synctest.Wait()
		j.add("busy")
		synctest.Wait()
		select {
		case err := <-result:
			t.Fatalf("Await returned before the line: %v", err)
		default:
		}
		j.add("ready")
		if err := <-result; err != nil {
			t.Error(err)
		}
		if tail := j.Tail(2); tail != "busy\nready\n" {
			t.Errorf("the end is %q", tail)
		}

		go func() { result <- j.Await(from, running, patience, says("never")) }()
		synctest.Wait()
		close(running)
		if err := <-result; !errors.Is(err, ErrEnded) {
			t.Errorf("Await of a program that ends: %v", err)
		}
	})
}

// A shell says something, is paused, goes on, and ends as it is asked to.
func TestProcess(t *testing.T) {
	t.Parallel()
	var log Journal
	p, err := Start(&log, Command{
		Path: "/bin/sh", Env: []string{"WORD=ready"}, Dir: t.TempDir(),
		// By -9, since a child that is not yet sleep would take another signal for the shell's.
		Args: []string{"-c", `trap 'echo asked; kill -9 $!; exit 3' TERM; sleep 600 & echo $WORD >&2; wait`},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	await := func(text string) {
		t.Helper()
		if err := log.Await(0, p.Done(), patience, func(l Line) bool { return l.Text == text }); err != nil {
			t.Fatalf("wait for %q: %v", text, err)
		}
	}
	await("ready")
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	await("asked")
	<-p.Done()
	if code := p.State().ExitCode(); code != 3 {
		t.Errorf("exit status %d; want 3", code)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrEnded) {
		t.Errorf("signal to a program that has ended: %v", err)
	}
}

// asChild names the variable that makes the test binary the one to be killed, and
// says where its program writes to.
const asChild = "PROGRAM_AS_CHILD"

// A program and its children die with a test binary that is killed. They hold a
// pipe open, which ends with the last of them.
func TestDiesWithTheTests(t *testing.T) {
	if fifo := os.Getenv(asChild); fifo != "" {
		script := "exec 3>" + fifo + "; sleep 600 & echo up >&3; sleep 600"
		if _, err := Start(new(Journal), Command{Path: "/bin/sh", Args: []string{"-c", script}, Guarded: true}); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestDiesWithTheTests$")
	child.Env = append(os.Environ(), asChild+"="+fifo)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	up := make([]byte, len("up\n"))
	if _, err := io.ReadFull(pipe, up); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // says that it was killed
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, pipe)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the program outlived the test binary")
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	cpu, err := CPU(os.Getpid())
	if err != nil || cpu < 0 || cpu > time.Minute {
		t.Errorf("%v of processor time: %v", cpu, err)
	}
	if resident, err := Resident(os.Getpid()); err != nil || resident < 1<<20 {
		t.Errorf("%d B resident: %v", resident, err)
	}
	if slab, err := Slab(); err != nil || slab < 1<<20 {
		t.Errorf("%d B in slabs: %v", slab, err)
	}
	const nobody = 1 << 30
	if _, err := CPU(nobody); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("processor time of no process: %v", err)
	}
}

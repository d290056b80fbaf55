package program

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// asChild names an environment variable. If it is set, the test binary acts as the child that
// the test kills; its value is the file to which the child's program writes.
const asChild = "PROGRAM_AS_CHILD"

// If a test binary is killed, its program and the program's children die too. They hold a pipe
// open, which ends when the last of them is dead.
func TestDiesWithTheTests(t *testing.T) {
	if fifo := os.Getenv(asChild); fifo != "" {
		script := "exec 3>" + fifo + "; sleep 600 & echo up >&3; sleep 600"
		if _, err := Start(new(Journal), Command{Path: "/bin/sh", Args: []string{"-c", script}, Guarded: true}); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // blocks until this process is killed
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
	_ = child.Wait() // the error says that the child was killed
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

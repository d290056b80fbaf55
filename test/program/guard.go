package program

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
)

// guard starts a process group for a program. The group is killed if the test binary dies before it calls the function
// `release`: the group's first process waits for a line from the test binary, and kills the group if its input ends
// without a line.
func guard() (group int, release func(), err error) {
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", "read line || kill -9 -$$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	line, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, nil, fmt.Errorf("start a guarded process group: %w", err)
	}
	return cmd.Process.Pid, func() {
		_, _ = line.Write([]byte("\n"))
		_ = line.Close()
		_ = cmd.Wait()
	}, nil
}

//go:build unix && !linux

package program

import "syscall"

// attributes gives a process its own group. On this system the process survives if the test binary is killed: only
// Linux can end a child with its parent.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

//go:build unix && !linux

package program

import "syscall"

// attributes gives a process its own group. On this system the process survives the death of the test binary: only
// Linux can kill a child with its parent.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

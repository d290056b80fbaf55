//go:build unix && !linux

package program

import "syscall"

// attributes gives a process a group of its own. It does not die with a test binary
// that is killed: only Linux knows that.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

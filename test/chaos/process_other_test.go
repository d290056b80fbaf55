//go:build unix && !linux

package chaos

import "syscall"

// attributes makes a process lead a group of its own, so that a Ctrl-C is for
// the tests alone. It does not die with a test binary that is killed: only Linux
// knows that.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

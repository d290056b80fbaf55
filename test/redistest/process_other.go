//go:build unix && !linux

package redistest

import "syscall"

// attributes makes a process lead its group. It does not die with a test binary
// that is killed: only Linux knows that.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

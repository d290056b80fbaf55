package chaos

import "syscall"

// attributes makes a process lead a group of its own, so that a Ctrl-C is for
// the tests alone, and die with them.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

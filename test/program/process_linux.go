package program

import "syscall"

// attributes gives a process its own group, and kills it when the test binary dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

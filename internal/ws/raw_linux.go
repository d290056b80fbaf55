package ws

import (
	"syscall"
	"unsafe"
)

const haveDescriptors = true

// The functions readFD and writeFD read and write a non-blocking file descriptor by raw system calls. An ordinary
// system call tells Go's scheduler that it may block, which wakes the runtime's monitor thread in an otherwise idle
// process. At 500 heartbeats a second, that caused 170 futex and 600 nanosleep calls a second; with raw system calls
// there are 6 futex and 7 nanosleep calls.

func readFD(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_READ, fd, p) }

func writeFD(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }

// call makes a system call with a file descriptor and the buffer p, which must not be empty.
func call(number, fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // by rule 4 of unsafe.Pointer
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, syscall.EAGAIN // a constant, since the conversion of errno to an error would allocate memory
		default:
			return 0, errno
		}
	}
}

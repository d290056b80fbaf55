//go:build unix && !linux

package ws

import (
	"errors"
	"syscall"
)

const haveDescriptors = true

// readFD and writeFD read and write a file descriptor that is in non-blocking mode.

func readFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

func writeFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

//go:build unix

package ws

import (
	"errors"
	"syscall"
)

const canRead = true

// readFD reads from a descriptor that does not block.
func readFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

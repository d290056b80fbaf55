//go:build !unix

package ws

import "syscall"

const canRead = false

func readFD(uintptr, []byte) (int, error) { return 0, syscall.EINVAL }

//go:build unix

package listen

import (
	"math"
	"syscall"
)

// descriptorLimit is how many file descriptors the process may have. Go's runtime has
// raised the soft limit to the hard one.
func descriptorLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxUint64
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on FreeBSD
}

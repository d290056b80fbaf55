//go:build !unix

package listen

import "math"

// descriptorLimit returns how many file descriptors the process may have: this system has no limit.
func descriptorLimit() uint64 { return math.MaxUint64 }

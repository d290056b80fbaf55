//go:build !unix

package listen

import "math"

// descriptorLimit is how many file descriptors the process may have: there is no limit.
func descriptorLimit() uint64 { return math.MaxUint64 }

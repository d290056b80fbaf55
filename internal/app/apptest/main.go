package apptest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package that starts nodes, and fails if goroutines are left.
func Main(m *testing.M) {
	// go-redis looks every second whether a server that was away is back, and
	// notices only then that nobody wants to know any more.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

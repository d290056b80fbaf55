package apptest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package that starts nodes, and fails if goroutines are left.
func Main(m *testing.M) {
	// After an outage, go-redis tries to reconnect once a second. The goroutine that does so may outlive its client by
	// a second, so it is not counted as left.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

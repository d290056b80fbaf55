package apptest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package that starts nodes, and fails if goroutines are left.
func Main(m *testing.M) {
	// go-redis tries to reconnect once a second after an outage, and only then notices that its
	// client was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

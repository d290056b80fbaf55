package bench

import (
	"fmt"
	"os"
	"testing"
)

// Each makes the test binary another process, so that a benchmark measures the
// server without its clients.
const (
	holdEnv = "REFRESHER_BENCH_HOLD" // a dialect, an address and a count: holds connections
	loadEnv = "REFRESHER_BENCH_LOAD" // an address and a count: makes calls
)

func TestMain(m *testing.M) {
	for name, part := range map[string]func(order string) error{holdEnv: hold, loadEnv: makeCalls} {
		order := os.Getenv(name)
		if order == "" {
			continue
		}
		if err := part(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// size is how many of something a benchmark has: few where it is only to be seen
// that it works.
func size(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

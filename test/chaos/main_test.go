package chaos

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"refresher/test/nodetest"
)

// The environment variables CHAOS_SECONDS and CHAOS_CALLS set length and callers: see the package's documentation.
var (
	length  time.Duration
	callers int
)

func TestMain(m *testing.M) {
	seconds, err := setting("CHAOS_SECONDS", 3)
	length = time.Duration(seconds) * time.Second
	if err == nil {
		callers, err = setting("CHAOS_CALLS", 60)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	nodetest.Main(m)
}

func setting(name string, fallback int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s: want a number of 1 or more, have %q", name, text)
	}
	return n, nil
}

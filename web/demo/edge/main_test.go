package edge

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pass lets time pass on the fake clock of testing/synctest.
func pass(d time.Duration) { time.Sleep(d) } // bubble

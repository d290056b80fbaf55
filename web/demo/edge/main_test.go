package edge

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pass advances the clock of a synctest bubble.
func pass(d time.Duration) { time.Sleep(d) } // bubble

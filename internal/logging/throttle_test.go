package logging

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var th Throttle
		if skipped, ok := th.Pass(time.Minute); !ok || skipped != 0 {
			t.Error("the first line was held back")
		}
		for range 5 {
			time.Sleep(59 * time.Second / 5) // bubble
			if _, ok := th.Pass(time.Minute); ok {
				t.Error("a line too many")
			}
		}
		time.Sleep(time.Second) // bubble
		if skipped, ok := th.Pass(time.Minute); !ok || skipped != 5 {
			t.Errorf("after a minute: %v, %d skipped", ok, skipped)
		}
	})
}

package webhook

import (
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var th Throttle
	if skipped, ok := th.Pass(now); !ok || skipped != 0 {
		t.Error("the first line was held back")
	}
	for range 5 {
		if _, ok := th.Pass(now.Add(59 * time.Second)); ok {
			t.Error("a line too many")
		}
	}
	if skipped, ok := th.Pass(now.Add(time.Minute)); !ok || skipped != 5 {
		t.Errorf("after a minute: %v, %d skipped", ok, skipped)
	}
}

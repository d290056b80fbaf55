package app

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A node that starts without a key set is not ready for a while, and keeps nobody from
// coming back for longer than that.
func TestReadyWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetched := false
		h := &health{
			degraded: func() bool { return false }, informed: func() bool { return true }, works: func() error { return nil },
			hasKeys: func() bool { return fetched }, keysBy: time.Now().Add(keysPatience),
		}
		want := func(ready bool, text string) {
			t.Helper()
			if got, said := h.ready(); got != ready || !strings.HasPrefix(said, text) {
				t.Errorf("after %v: %v, %s", keysPatience-time.Until(h.keysBy), got, said)
			}
		}
		want(false, "starting: no key set")
		fetched = true
		want(true, "ready")
		fetched = false
		time.Sleep(keysPatience - 1) // bubble
		want(false, "starting: no key set")
		time.Sleep(time.Nanosecond) // bubble
		want(true, "ready, degraded: no key set")
	})
}

package listen

import (
	"math"
	"testing"
)

func TestReserved(t *testing.T) {
	for limit, want := range map[uint64]uint64{
		0: 0, 1: 0, 20: 10, 64: 32, 256: 32, 1024: 128, 4096: 512, 1 << 20: 1024, math.MaxUint64: 1024,
	} {
		if have := reserved(limit); have != want {
			t.Errorf("of %d: %d, want %d", limit, have, want)
		}
	}
}

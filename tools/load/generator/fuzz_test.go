package generator

import (
	"testing"
)

// FuzzFrame reads frames from arbitrary bytes of a peer.
func FuzzFrame(f *testing.F) {
	for _, seed := range []string{"\x81\x01a", "\x81\x7e\x00\x80", "\x88\x02\x03\xe8", "\x81\x7f", "\x01\x01a", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &wire{buffer: b}
		for {
			before := w.from
			_, payload, ok, err := w.frame()
			if err != nil || !ok {
				if w.from != before {
					t.Error("what was not taken is gone")
				}
				return
			}
			if w.from > len(b) || w.from-before < 2+len(payload) {
				t.Fatalf("from %d to %d of %d, with %d bytes", before, w.from, len(b), len(payload))
			}
		}
	})
}

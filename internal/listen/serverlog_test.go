package listen

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Of many lines of one kind, one a minute is written and the others are counted. Lines of other kinds are still written.
func TestServerLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := slog.NewLogLogger(&serverLog{Handler: slog.NewTextHandler(&text, nil)}, slog.LevelWarn)
		for i := range 1000 {
			log.Printf("http: TLS handshake error from 192.0.2.1:%d: EOF", i)
		}
		log.Print("http: panic serving 192.0.2.1:1: a fault\nstack")
		log.Print("http: Accept error: too many open files; retrying in 5ms")
		time.Sleep(time.Minute) // bubble
		log.Print("http: TLS handshake error from 192.0.2.2:1: EOF")
		lines := strings.Split(strings.TrimSpace(text.String()), "\n")
		want := []string{"192.0.2.1:0: EOF", "a fault", "too many open files", "192.0.2.2:1: EOF"}
		if len(lines) != len(want) {
			t.Fatalf("%d lines: %s", len(lines), &text)
		}
		for i, line := range lines {
			unlogged := fmt.Sprintf("unlogged=%d", map[bool]int{true: 999}[i == 3])
			if !strings.Contains(line, want[i]) || !strings.Contains(line, unlogged) {
				t.Errorf("line %d, want %s and %s: %s", i, want[i], unlogged, line)
			}
		}
	})
}

package bench

import (
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkIdleConnection reports the memory that one open, idle connection costs the
// process: heap and stacks, after a collection.
func BenchmarkIdleConnection(b *testing.B) {
	b.Run("refresher", func(b *testing.B) { // a whole call: connection, session, schedule
		measureIdle(b, "refresher", runNode(b, settings()).Addr().String())
	})
	b.Run("coder-websocket", func(b *testing.B) { measureIdle(b, "library", serve(b, library())) })
	b.Run("centrifuge", func(b *testing.B) { measureIdle(b, "centrifuge", serve(b, centrifugeServer(b, ours(b)))) })
}

func measureIdle(b *testing.B, dialect, address string) {
	b.Helper()
	count := size(10_000, 100)
	for b.Loop() {
		before := memory()
		clients := start(b, holdEnv, fmt.Sprintf("%s %s %d", dialect, address, count))
		b.ReportMetric(float64(memory()-before)/float64(count), "B/conn")
		clients.end()
	}
}

// memory is what the process uses, garbage aside.
func memory() uint64 {
	for range 3 { // stacks shrink by half at a time
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

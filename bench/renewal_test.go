package bench

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRenewal reports the processor time that one renewal costs the server,
// kernel included, with 10,000 clients connected: a client asks, two tokens are
// minted and sent, the client confirms. A renewal of refresher's that falls due by
// itself saves reading the question. Refresher sends a client tokens at its wish once a
// second at most, so that a round takes a second at least.
func BenchmarkRenewal(b *testing.B) {
	b.Run("refresher", func(b *testing.B) {
		measureRenewals(b, "refresher", runNode(b, settings()).Addr().String())
	})
	b.Run("centrifuge", func(b *testing.B) {
		measureRenewals(b, "centrifuge", serve(b, centrifugeServer(b, ours(b))))
	})
	b.Run("centrifuge-agora-builder", func(b *testing.B) {
		measureRenewals(b, "centrifuge", serve(b, centrifugeServer(b, agoras)))
	})
	b.Run("http-agora-builder", func(b *testing.B) {
		measureRenewals(b, "http", serve(b, tokenServer(b, agoras)))
	})
}

func measureRenewals(b *testing.B, dialect, address string) {
	b.Helper()
	count := size(10_000, 100)
	clients := start(b, holdEnv, fmt.Sprintf("%s %s %d", dialect, address, count))
	defer clients.end()
	before, renewals := processorTime(b), 0
	for b.Loop() {
		clients.order("renew")
		renewals += count
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(renewals), "cpu-µs/renewal")
}

// processorTime is what the process has used so far, in user and kernel mode.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

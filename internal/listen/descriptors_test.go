package listen

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
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

func TestDescriptors(t *testing.T) {
	l, err := Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	d := NewDescriptors(slog.New(slog.DiscardHandler), r)
	d.limit = 800
	if clients, probes := d.ForClients(l).(*sparingListener).below, d.ForProbes(l).(*sparingListener).below; clients != 700 || probes != 750 {
		t.Errorf("clients may use %d descriptors, probes %d", clients, probes)
	}
	d.limit = 1 // fewer descriptors than are in use, so that each connection is refused
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	go func() {
		_, _ = io.Copy(io.Discard, client) // waits until the listener has closed the connection
		_ = l.Close()
	}()
	if _, err := d.ForClients(l).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(r, "refresher_connections_refused_total"); n != 1 || err != nil || testutil.ToFloat64(d.refused) != 1 {
		t.Errorf("%d metrics, %v; %v refused", n, err, testutil.ToFloat64(d.refused))
	}
}

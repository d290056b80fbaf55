package ws_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
)

// A client that never reads and requests renewals as often as allowed is disconnected after two pushes
// without an ack. Until then the kernel buffers few bytes for it.
func TestClientThatAsksAndNeverReadsIsCut(t *testing.T) {
	n := apptest.StartNode(t, func(c *app.Config) { c.Policy.AckTimeout = 200 * time.Millisecond })
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.App.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	say := func(text string) error {
		_, err := conn.Write(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)) // the mask is zero
		return err
	}
	if _, err := io.WriteString(conn, "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", response, err)
	}
	_ = response.Body.Close()
	if err := say(`{"type":"join","rtc":{"channel":"c","uid":1}}`); err != nil {
		t.Fatal(err)
	}
	began, most := time.Now(), 0
	often := time.NewTicker(time.Second / 9)
	defer often.Stop()
	for range often.C {
		if say(`{"type":"renew"}`) != nil {
			break
		}
		most = max(most, unread(t, n.App.Addr(), conn.LocalAddr()))
		if time.Since(began) > time.Minute {
			t.Fatalf("it is still there after a minute; %d bytes wait for it", most)
		}
	}
	// 0.4 s for the pushes, and 2 s of waiting for an answer to the close frame.
	if took := time.Since(began); took > 10*time.Second || most > 64<<10 {
		t.Errorf("cut off after %s; %d bytes waited for it", took, most)
	}
}

// unread returns how many bytes the kernel holds that the peer has not read, according to Linux's /proc.
func unread(t *testing.T, from, to net.Addr) int {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	name := func(a net.Addr) string {
		at := netip.MustParseAddrPort(a.String())
		ip := at.Addr().As4()
		return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], at.Port())
	}
	// Only the line of this connection is parsed: the machine may have tens of thousands of other connections.
	_, line, found := strings.Cut(string(text), " "+name(from)+" "+name(to)+" ")
	if fields := strings.Fields(line[:min(len(line), 100)]); found && len(fields) > 1 {
		sent, _, _ := strings.Cut(fields[1], ":")
		bytes, err := strconv.ParseInt(sent, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return int(bytes)
	}
	return 0
}

package app

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/session"
	"refresher/internal/ws"
)

// idleConnections is how many connections BenchmarkIdleConnection measures.
const idleConnections = 10_000

// dialEnv makes the test binary a process that holds connections, so that a
// benchmark measures the server's memory without the clients'.
const dialEnv = "REFRESHER_TEST_HOLD"

// BenchmarkIdleConnection reports the memory that one open, idle connection
// costs the process: heap and stacks, after a collection.
//
//	library  coder/websocket as it comes: its Read in the HTTP handler
//	hub      a connection of ws.Hub
//	node     a whole call: connection, session, schedule
func BenchmarkIdleConnection(b *testing.B) {
	b.Run("library", func(b *testing.B) {
		measureIdle(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow() //nolint:errcheck // it may be closed already
			for {
				if _, _, err := c.Read(context.WithoutCancel(r.Context())); err != nil {
					return
				}
				if c.Write(context.WithoutCancel(r.Context()), websocket.MessageText, []byte(`{"type":"joined"}`)) != nil {
					return
				}
			}
		}))
	})
	b.Run("hub", func(b *testing.B) {
		hub, err := ws.New(ws.Config{
			Sessions: noSessions{}, Gate: &gate{}, Heartbeat: time.Hour, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
		})
		if err != nil {
			b.Fatal(err)
		}
		defer hub.Close()
		measureIdle(b, hub)
	})
	b.Run("node", func(b *testing.B) {
		a, err := New(testConfig(), quiet)
		if err != nil {
			b.Fatal(err)
		}
		defer a.hub.Close()
		defer a.publicListener.Close()
		defer a.opsListener.Close()
		readOrders(b, a)
		measureIdle(b, a.public.Handler)
	})
}

// readOrders has a node that is not run know that nothing was revoked.
func readOrders(b *testing.B, a *App) {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = a.orders.book.Run(ctx) // returns nil
	}()
	<-a.orders.book.Known()
	stop()
	<-done
}

// noSessions takes every client and remembers none.
type noSessions struct{}

func (noSessions) Join(_ session.Join, c session.Client) (session.Attachment, error) {
	return nothing{}, c.Joined(session.Joined{})
}

func (s noSessions) Resume(_ session.Resume, c session.Client) (session.Attachment, error) {
	return nothing{}, c.Joined(session.Joined{})
}

type nothing struct{}

func (nothing) Ack(uint64) error                  { return nil }
func (nothing) Nack(uint64, string, string) error { return nil }
func (nothing) Renew()                            {}
func (nothing) Leave()                            {}
func (nothing) Detach()                           {}

func measureIdle(b *testing.B, handler http.Handler) {
	b.Helper()
	count := idleConnections
	if testing.Short() {
		count = 100
	}
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	defer func() {
		_ = server.Close()
		<-served
	}()
	for b.Loop() {
		before := memory()
		clients := hold(b, listener.Addr().String(), count)
		perConnection := float64(memory()-before) / float64(count)
		clients.release()
		b.ReportMetric(perConnection, "B/conn")
	}
}

// BenchmarkRenewal reports the processor time that one renewal costs the node,
// kernel included: the client asks (renew), two tokens are minted and pushed,
// the client acks, the schedule is set. A renewal that falls due by itself
// saves reading the question.
func BenchmarkRenewal(b *testing.B) {
	count := idleConnections
	if testing.Short() {
		count = 100
	}
	a, err := New(testConfig(), quiet)
	if err != nil {
		b.Fatal(err)
	}
	readOrders(b, a)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = a.public.Serve(a.publicListener)
	}()
	defer func() {
		_ = a.public.Close()
		_ = a.opsListener.Close()
		a.hub.Close()
		<-served
	}()
	clients := hold(b, a.Addr().String(), count)
	defer clients.release()
	before, renewals := processorTime(b), 0
	for b.Loop() {
		clients.renew()
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

// memory is what the process uses, garbage aside.
func memory() uint64 {
	for range 3 { // stacks shrink by half at a time
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// clients are connections that another process holds.
type clients struct {
	child  *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	b      *testing.B
}

// hold has another process open connections and join on each.
func hold(b *testing.B, address string, count int) *clients {
	b.Helper()
	child := exec.CommandContext(b.Context(), os.Args[0])
	child.Env = append(os.Environ(), dialEnv+"="+address+" "+strconv.Itoa(count))
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := child.Start(); err != nil {
		b.Fatal(err)
	}
	c := &clients{child: child, stdin: stdin, stdout: bufio.NewReader(stdout), b: b}
	c.ready()
	return c
}

func (c *clients) ready() {
	c.b.Helper()
	if line, err := c.stdout.ReadString('\n'); line != "ready\n" {
		c.b.Fatalf("%q, %v", line, err)
	}
}

// renew has each client ask for tokens and ack them, atOnce of them at a time.
func (c *clients) renew() {
	c.b.Helper()
	if _, err := io.WriteString(c.stdin, "renew\n"); err != nil {
		c.b.Fatal(err)
	}
	c.ready()
}

func (c *clients) release() {
	_ = c.stdin.Close()
	if err := c.child.Wait(); err != nil {
		c.b.Fatal(err)
	}
}

// holdConnections is what the other process does: order is an address and a
// count.
func holdConnections(order string) error {
	address, number, _ := strings.Cut(order, " ")
	count, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, count)
	part := make([]byte, 4096)
	for i := range conns {
		c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		conns[i] = c
		request := fmt.Appendf(nil, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", address)
		request = append(request, frame(fmt.Sprintf(`{"type":"join","rtc":{"channel":"c","uid":%d},"rtm":{"userId":"%d"}}`, i, i))...)
		if _, err := c.Write(request); err != nil {
			return err
		}
		// The answer to the handshake ends with an empty line; after that comes
		// the answer to the join, which is long enough to be told from it.
		for seen := ""; !strings.Contains(seen, `"joined"`); {
			n, err := c.Read(part)
			if err != nil {
				return fmt.Errorf("connection %d: %q: %w", i, seen, err)
			}
			seen += string(part[:n])
		}
	}
	orders := bufio.NewScanner(os.Stdin)
	for seq := 2; ; seq++ {
		fmt.Println("ready")
		if !orders.Scan() {
			return orders.Err()
		}
		var parts sync.WaitGroup
		failed := make(chan error, atOnce)
		for part := range slices.Chunk(conns, (len(conns)+atOnce-1)/atOnce) {
			parts.Go(func() { failed <- renewAll(part, seq) })
		}
		parts.Wait()
		close(failed)
		for err := range failed {
			if err != nil {
				return err
			}
		}
	}
}

// atOnce is how many clients renew at the same time.
const atOnce = 64

// renewAll has one client after the other ask for tokens and ack them.
func renewAll(conns []net.Conn, seq int) error {
	part := make([]byte, 4096)
	ack := frame(fmt.Sprintf(`{"type":"ack","seq":%d}`, seq))
	for i, c := range conns {
		if _, err := c.Write(frame(`{"type":"renew"}`)); err != nil {
			return err
		}
		if n, err := c.Read(part); err != nil || !bytes.Contains(part[:n], fmt.Appendf(nil, `"seq":%d,`, seq)) {
			return fmt.Errorf("connection %d, seq %d: %q, %w", i, seq, part[:n], err)
		}
		if _, err := c.Write(ack); err != nil {
			return err
		}
	}
	return nil
}

package ws

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/protocol"
)

const handshake = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// frame returns a client's frame with a mask that is not zero. The argument `first` is the frame's first byte.
func frame(first byte, payload string) []byte {
	f := []byte{first}
	switch n := len(payload); {
	case n <= maxShort:
		f = append(f, masked|byte(n))
	default:
		f = binary.BigEndian.AppendUint16(append(f, masked|126), uint16(n))
	}
	mask := [4]byte{1, 2, 3, 0xff}
	f = append(f, mask[:]...)
	for i := range payload {
		f = append(f, payload[i]^mask[i%4])
	}
	return f
}

// Each message is handled once and in order, however the network and the buffers split the client's bytes.
func TestMessagesInAnySegments(t *testing.T) {
	for name, listen := range map[string]func(*httptest.Server){
		"TCP": func(s *httptest.Server) { s.Start() },
		"TLS": func(s *httptest.Server) { s.StartTLS() },
		"Unix": func(s *httptest.Server) {
			_ = s.Listener.Close()
			var err error
			if s.Listener, err = (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s")); err != nil {
				t.Fatal(err)
			}
			s.Start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			sessions := &sessions{}
			hub := newHub(t, sessions, nil)
			server := httptest.NewUnstartedServer(hub)
			listen(server)
			defer server.Close()
			defer hub.Close()
			dial := func() net.Conn {
				address := server.Listener.Addr()
				c, err := (&net.Dialer{}).DialContext(t.Context(), address.Network(), address.String())
				if err == nil && server.TLS != nil {
					c, err = secure(t.Context(), c, server)
				}
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			for seed := range uint64(100) {
				inAnySegments(t, dial(), sessions, rand.New(rand.NewPCG(seed, 0)))
			}
		})
	}
}

// inAnySegments sends random messages in random segments, and checks that the session received all of them.
func inAnySegments(t *testing.T, c net.Conn, sessions *sessions, random *rand.Rand) {
	t.Helper()
	defer c.Close()
	sent := append([]byte(handshake), frame(textFrame, joinText)...)
	if random.IntN(2) == 0 { // otherwise the client sends its messages without waiting for the answers to the handshake and the join
		exchange(t, c, sent, `"joined"`)
		sent = nil
	}
	var want []string
	pongs := 0
	for range 15 {
		switch random.IntN(6) {
		case 0:
			sent = append(sent, frame(textFrame, `{"type":"ping"}`)...)
			pongs++
		case 1:
			sent = append(sent, frame(textFrame, `{"type":"ack","seq":3}`)...)
			want = append(want, "ack")
		case 2:
			sent = append(sent, frame(textFrame, `{"type":"renew"}`)...)
			want = append(want, "renew")
		case 3:
			sent = append(sent, frame(0x8a, strings.Repeat("p", random.IntN(50)))...)
		default:
			code := strings.Repeat("x", random.IntN(32))
			m := `{"type":"nack","seq":1,"code":"` + code + `","message":"m"}` + strings.Repeat(" ", random.IntN(64))
			if cut := random.IntN(2 * len(m)); cut < len(m) {
				sent = append(sent, frame(0x01, m[:cut])...)
				sent = append(sent, frame(0x8a, "between")...)
				sent = append(sent, frame(0x80, m[cut:])...)
			} else {
				sent = append(sent, frame(textFrame, m)...)
			}
			want = append(want, "nack "+code+" m")
		}
	}
	sent = append(sent, frame(textFrame, `{"type":"ping"}`)...)
	pongs++
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	go func() {
		most := 1 + random.IntN(200)
		for len(sent) > 0 {
			n := min(len(sent), 1+random.IntN(most))
			_, _ = c.Write(sent[:n])
			sent = sent[n:]
			if random.IntN(3) == 0 {
				runtime.Gosched()
			}
		}
	}()
	var received []byte
	for bytes.Count(received, []byte(`"pong"`)) < pongs {
		part := make([]byte, 1024)
		n, err := c.Read(part)
		if err != nil {
			t.Fatalf("after %q: %v; want %d pongs", received, err, pongs)
		}
		received = append(received, part[:n]...)
	}
	if said := sessions.last().said(); !reflect.DeepEqual(said, want) {
		t.Errorf("handled\n%q, want\n%q", said, want)
	}
}

func TestNothingFollowsHalfAFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		s := &socket{Conn: server, writing: newLock()}
		go func() { _, _ = io.ReadFull(client, make([]byte, 3)) }()
		if s.send(appendText(nil, []byte("hello")), time.Now().Add(time.Second)) == nil {
			t.Fatal("a client took all of what it did not read")
		}
		go func() { _, _ = io.Copy(io.Discard, client) }()
		if s.send(appendText(nil, []byte("again")), time.Now().Add(time.Second)) == nil {
			t.Error("a frame was sent after half of another")
		}
	})
}

func TestNothingFollowsTheLibrarysCloseFrame(t *testing.T) {
	for _, reason := range []string{"bye", "\xff"} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			s := &socket{Conn: server, writeTimeout: time.Second, writing: newLock()}
			go func() { _, _ = io.Copy(io.Discard, client) }()
			if _, err := s.Write(appendClose(nil, protocol.CloseGoingAway, reason)); err != nil {
				t.Fatal(err)
			}
			if s.send(appendText(nil, []byte("again")), time.Now().Add(time.Second)) == nil {
				t.Error("a message was sent after the close frame")
			}
		})
	}
}

// If a write is in progress when a ping is due, the ping is sent after that write. Without the ping, a page whose timers
// the browser throttles would lose its connection, though it answers pings.
func TestProbeWhileAMessageIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHarness(t, nil)
		p := s.join()
		conn := s.hub.all()[0]
		wait(probeAfter(s.hub.config.Heartbeat) - time.Second)
		conn.socket.writing.Lock()
		time.Sleep(2 * time.Second) // bubble
		conn.socket.writing.Unlock()
		go func() { _, _, _ = p.socket.Read(t.Context()) }() // answers pings
		wait(silence*s.hub.config.Heartbeat - time.Second)
		if s.hub.open() != 1 {
			t.Error("a client that answers pings was closed after two heartbeats")
		}
		_ = p.socket.CloseNow()
	})
}

func secure(ctx context.Context, c net.Conn, server *httptest.Server) (net.Conn, error) {
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com"
	over := tls.Client(c, config)
	return over, over.HandshakeContext(ctx)
}

// exchange writes a request and reads until the expected answer has arrived.
func exchange(t *testing.T, c net.Conn, request []byte, answer string) {
	t.Helper()
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	for seen := ""; !strings.Contains(seen, answer); {
		part := make([]byte, 1024)
		n, err := c.Read(part)
		if err != nil {
			t.Fatal(err)
		}
		seen += string(part[:n])
	}
}

// The methods of raw return the errors of the system calls.
func TestRawAfterAReset(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	_ = client.(*net.TCPConn).SetLinger(0) // with this setting, Close resets the connection
	_ = client.Close()
	r := newRaw(server)
	if err := r.await(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}
	if _, err := r.write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write: %v", err)
	}
}

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"refresher/test/program"
)

// If the program that reads the log exits or stops reading, calls go on, probes are answered, and the service stops in
// good order. The service logs at level debug, so each renewal writes to the log.
func TestCallsDoNotNeedTheReaderOfTheLog(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		stop func(t *testing.T, reader, writer *os.File)
	}{
		"the reader exits":           {"serve --auth=none", func(_ *testing.T, reader, _ *os.File) { _ = reader.Close() }},
		"the demo's reader exits":    {"demo", func(_ *testing.T, reader, _ *os.File) { _ = reader.Close() }},
		"the reader does not read":   {"serve --auth=none", func(t *testing.T, _, writer *os.File) { fill(t, writer) }},
		"the demo's reader is stuck": {"demo", func(t *testing.T, _, writer *os.File) { fill(t, writer) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			addr, ops := program.Address(t), program.Address(t)
			s := command(t, credentialsEnv, c.line+" --listen="+addr+" --ops-listen="+ops+" --log-level=debug --min-ttl=4s --drain-window=0")
			s.Stdout, s.Stderr = writer, writer
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(reader); lines.Scan() && !bytes.Contains(lines.Bytes(), []byte("Ctrl-C")) && !bytes.Contains(lines.Bytes(), []byte("serving")); {
				continue
			}
			c.stop(t, reader, writer)
			_ = writer.Close()
			if said := works(t, nil, "call --url=ws://"+addr+"/v1/ws --ttl=4 --renewals=2"); !strings.Contains(said, "2 renewals confirmed") {
				t.Error(said)
			}
			works(t, nil, "health --ready --ops-listen="+ops)
			if err := s.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := s.Wait(); err != nil {
				t.Errorf("stopped with %v", err)
			}
			_ = reader.Close() // since the file is used here, the garbage collector cannot close it earlier
		})
	}
}

// fill writes to a pipe until the pipe is full. It opens the pipe a second time for its own writes, which must not
// block. The writes of the service must be able to block.
func fill(t *testing.T, writer *os.File) {
	t.Helper()
	path := filepath.Join("/proc/self/fd", strconv.Itoa(int(writer.Fd())))
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for err == nil {
		_, err = syscall.Write(fd, []byte("\n"))
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
}

// Texts from clients appear in the log with printable characters only.
func TestNothingThatAClientWritesReachesATerminal(t *testing.T) {
	const nasty = "\u009b31m\u0085\u202e\x7f"
	s := start(t, credentialsEnv, "serve --auth=none --log-format=text")
	socket, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`{"type":"join","rtm":{"userId":"u"}}`, fmt.Sprintf(`{"type":"nack","seq":1,"code":"%s","message":"a%sb c"}`, nasty, nasty), `{"type":"leave"}`,
	} {
		if err := socket.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for err == nil {
		_, _, err = socket.Read(t.Context())
	}
	s.stop(syscall.SIGTERM)
	if log := s.said.String(); !strings.Contains(log, "SDK refused") || !strings.Contains(log, `u202e`) || strings.ContainsAny(log, nasty[:2]+"\u0085\u202e\x7f") {
		t.Errorf("%q", log)
	}
}

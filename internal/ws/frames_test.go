package ws

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/protocol"
)

// Control frames and empty fragments count for the message rate, though the library handles them itself.
func TestFloodOfFramesIsRefused(t *testing.T) {
	mask := "\x00\x00\x00\x00"
	for name, frames := range map[string]struct{ first, then string }{
		"pings":                      {"", "\x89\x80" + mask},
		"pongs":                      {"", "\x8a\x80" + mask},
		"fragments without anything": {"\x01\x80" + mask, "\x00\x80" + mask},
		"fragments of a byte":        {"\x01\x80" + mask, "\x00\x81" + mask + "x"},
		"messages in fragments": {"", "\x01\x8f" + mask + `{"type":"ping"}` + strings.Repeat("\x00\x80"+mask, 1000) +
			"\x80\x80" + mask},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				c, done := s.raw()
				write(c, text(joinText))
				synctest.Wait()
				sent := 0
				flooded := make(chan struct{})
				go func() {
					defer close(flooded)
					_, err := io.WriteString(c, frames.first)
					for err == nil && sent < 1<<17 {
						_, err = io.WriteString(c, frames.then)
						sent += len(frames.then)
					}
				}()
				<-flooded
				_ = c.Close()
				<-done
				synctest.Wait()
				if got := testutil.ToFloat64(s.hub.metrics.closes.WithLabelValues("4429")); got != 1 {
					t.Errorf("after %d bytes, %v connections are closed for that", sent, got)
				}
			})
		})
	}
}

// exchange sends frames on a new connection, and returns the messages it receives and the close code.
func (s *harness) exchange(frames ...[]byte) (messages []map[string]any, code int) {
	s.t.Helper()
	c, err := s.pipes.dial(s.t.Context(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	go func() {
		_, _ = io.WriteString(c, "GET /v1/ws HTTP/1.1\r\nHost: refresher.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		write(c, frames...)
	}()
	r := bufio.NewReader(c)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = response.Body.Close()
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			s.t.Fatalf("no close frame: %v", err)
		}
		length := int(head[1])
		if length == 126 {
			var long [2]byte
			if _, err := io.ReadFull(r, long[:]); err != nil {
				s.t.Fatal(err)
			}
			length = int(binary.BigEndian.Uint16(long[:]))
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(r, payload); err != nil {
			s.t.Fatal(err)
		}
		if head[0] == 0x88 {
			return messages, int(binary.BigEndian.Uint16(payload))
		}
		var m map[string]any
		if err := json.Unmarshal(payload, &m); err != nil {
			s.t.Fatal(err)
		}
		messages = append(messages, m)
	}
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	for name, message := range map[string]string{
		"a byte that never is":   "{\"type\":\"ping\",\"x\":\"\xff\"}",
		"a character cut short":  "{\"type\":\"ping\",\"x\":\"\xe2\x82\"}",
		"half of a UTF-16 pair":  "{\"type\":\"ping\",\"x\":\"\xed\xa0\x80\"}",
		"a long form of a slash": "{\"type\":\"ping\",\"x\":\"\xc0\xaf\"}",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, nil)
				messages, code := s.exchange(text(joinText), text(message))
				if code != int(protocol.CloseNotUTF8) || len(messages) != 2 || messages[1]["code"] != "bad_request" {
					t.Errorf("told %v, closed with %d", messages, code)
				}
			})
		})
	}
}

func TestCloseWhoseReasonIsNotUTF8(t *testing.T) {
	for reason, want := range map[string]protocol.CloseCode{
		"":                  protocol.CloseGoingAway,
		"au revoir, là-bas": protocol.CloseGoingAway,
		"\xff":              protocol.CloseNotUTF8,
		"bye \xe2":          protocol.CloseNotUTF8,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, nil)
			frame := append([]byte{0x88, 0x80 | byte(2+len(reason)), 0, 0, 0, 0, 0x03, 0xe9}, reason...)
			if _, code := s.exchange(text(joinText), frame); code != int(want) {
				t.Errorf("reason %q: answered with %d", reason, code)
			}
			synctest.Wait()
			if got := testutil.ToFloat64(s.hub.metrics.closes.WithLabelValues(map[protocol.CloseCode]string{
				protocol.CloseGoingAway: "1001", protocol.CloseNotUTF8: "1007",
			}[want])); got != 1 {
				t.Errorf("reason %q: counted %v times", reason, got)
			}
		})
	}
}

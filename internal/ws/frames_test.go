package ws

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/protocol"
)

// Control frames and empty fragments count for the message rate, though the WebSocket library handles them itself. A
// client that exceeds the rate is disconnected even if it reads nothing.
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
		for _, reads := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				s := newHarness(t, nil)
				c := s.join().raw
				if reads {
					go func() { _, _ = io.Copy(io.Discard, c) }()
				}
				go func() {
					_, err := io.WriteString(c, frames.first)
					for sent := 0; err == nil && sent < 1<<17; sent += len(frames.then) {
						_, err = io.WriteString(c, frames.then)
					}
				}()
				wait(time.Minute)
				s.said("detach")
				if got := s.closes("4429"); reads && got != 1 || s.hub.open() != 0 {
					t.Errorf("%s, reads %t: %v connections are closed for that, %v are open", name, reads, got, s.hub.open())
				}
			})
		}
	}
}

// The length of a frame is encoded in the shortest form (RFC 6455, section 5.2).
func TestLengthOfAFrame(t *testing.T) {
	for length, head := range map[int]string{
		0: "\x81\x00", 125: "\x81\x7d", 126: "\x81\x7e\x00\x7e", 65_535: "\x81\x7e\xff\xff", 65_536: "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
	} {
		text := strings.Repeat("x", length)
		if got := string(appendText(nil, []byte(text))); got != head+text {
			t.Errorf("%d bytes: the frame begins with %x, want %x", length, got[:min(10, len(got))], head)
		}
	}
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	for name, message := range map[string]string{
		"a byte that never is":   "{\"type\":\"ping\",\"x\":\"\xff\"}",
		"half of a UTF-16 pair":  "{\"type\":\"ping\",\"x\":\"\xed\xa0\x80\"}",
		"a long form of a slash": "{\"type\":\"ping\",\"x\":\"\xc0\xaf\"}",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newHarness(t, nil).join()
				go write(p.raw, text(message))
				p.refused(protocol.CloseNotUTF8)
			})
		})
	}
}

func TestCloseWhoseReasonIsNotUTF8(t *testing.T) {
	for reason, want := range map[string]protocol.CloseCode{
		"": protocol.CloseGoingAway, "au revoir, là-bas": protocol.CloseGoingAway,
		"\xff": protocol.CloseNotUTF8, "bye \xe2": protocol.CloseNotUTF8,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newHarness(t, nil)
			p := s.join()
			go write(p.raw, append([]byte{0x88, 0x80 | byte(2+len(reason)), 0, 0, 0, 0, 0x03, 0xe9}, reason...))
			p.closed(want)
			synctest.Wait()
			if got := s.closes(strconv.Itoa(int(want))); got != 1 {
				t.Errorf("reason %q: counted %v times", reason, got)
			}
		})
	}
}

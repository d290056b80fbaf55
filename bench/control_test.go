//go:build linux

package bench

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// control shows how little processor time and memory a Go server needs to send and receive the same bytes. In one
// thread around epoll it accepts connections, finds the key of the WebSocket handshake, and answers with prepared
// frames. It mints no tokens, checks nothing and stores nothing.
type control struct {
	poller   *poller
	listener int
	refuse   bool
	buffer   [64 << 10]byte

	joined, pong, push, reconnect []byte // frames

	// If `schedule` is true, the server pushes to the next clients in turn after each `beat`.
	schedule bool
	clients  []int
	next     int
	due      float64 // pushes that are due; the fraction is kept for the next beat
}

// beat is the interval at which scheduled pushes are sent, as in refresher.
const beat = 50 * time.Millisecond

func runControl(c choice) error {
	app := newApplication(c)
	s := &control{refuse: c.Refuse, schedule: c.Schedule}
	for message, to := range map[string]*[]byte{
		`{"type":"join"}`: &s.joined, `{"type":"ping"}`: &s.pong, `{"type":"renew"}`: &s.push,
	} {
		*to = frame(opText, string(app.answer([]byte(message))), false)
	}
	s.reconnect = append(frame(opText, reconnect, false), frame(opClose, closeOverload, false)...)
	var err error
	var address string
	if s.listener, address, err = listen(); err != nil {
		return err
	}
	if s.poller, err = newPoller(); err != nil {
		return err
	}
	if err := s.poller.add(s.listener); err != nil {
		return err
	}
	announce(address)
	return s.run()
}

func (s *control) run() error {
	timeout, last := time.Duration(-1), time.Now()
	if s.schedule {
		timeout = beat
	}
	for {
		events, err := s.poller.wait(timeout)
		if err != nil {
			return err
		}
		for _, e := range events {
			if fd := int(e.Fd); fd != s.listener {
				s.read(fd)
			} else if err := s.accept(); err != nil {
				return err
			}
		}
		if now := time.Now(); s.schedule && now.Sub(last) >= beat {
			s.pushDue(now.Sub(last))
			last = now
		}
	}
}

// pushDue pushes to as many clients as refresher would have renewed in the time `span`.
func (s *control) pushDue(span time.Duration) {
	for s.due += span.Seconds() * float64(len(s.clients)) / meanInterval.Seconds(); s.due >= 1; s.due-- {
		_, _ = unix.Write(s.clients[s.next%len(s.clients)], s.push)
		s.next++
	}
}

func (s *control) accept() error {
	for {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return err
		}
		if err := s.poller.add(fd); err != nil {
			return err
		}
	}
}

// read answers the messages of a client. It closes the connection if a message is not complete: the clients of this
// benchmark send each message in one write, which loopback delivers in one piece.
func (s *control) read(fd int) {
	n, err := unix.Read(fd, s.buffer[:])
	for b := s.buffer[:max(n, 0)]; err == nil && n > 0; {
		if b, err = s.answer(fd, b); len(b) == 0 && err == nil {
			return
		}
	}
	_ = unix.Close(fd)
}

var (
	errEnd     = errors.New("the connection is to end")
	endOfHead  = []byte("\r\n\r\n")
	keyHeader  = []byte("Sec-WebSocket-Key: ")
	typeJoin   = []byte(`"type":"join"`)
	typeResume = []byte(`"type":"resume"`)
	typePing   = []byte(`"type":"ping"`)
	typeRenew  = []byte(`"type":"renew"`)
)

// answer answers the first request or frame of b, and returns the rest of b.
func (s *control) answer(fd int, b []byte) (rest []byte, err error) {
	if b[0] == 'G' {
		return nil, upgrade(fd, b)
	}
	op, message, rest := unframe(b)
	if op != opText {
		return nil, errEnd
	}
	var reply []byte
	switch {
	case bytes.Contains(message, typePing):
		reply = s.pong
	case bytes.Contains(message, typeRenew):
		reply = s.push
	case !bytes.Contains(message, typeJoin) && !bytes.Contains(message, typeResume):
	case s.refuse:
		reply = s.reconnect
	default:
		reply = s.joined
		if s.schedule {
			s.clients = append(s.clients, fd)
		}
	}
	if reply != nil {
		_, err = unix.Write(fd, reply)
	}
	return rest, err
}

// upgrade answers a WebSocket handshake.
func upgrade(fd int, request []byte) error {
	_, key, found := bytes.Cut(request, keyHeader)
	if !found || !bytes.HasSuffix(request, endOfHead) {
		return errEnd
	}
	key, _, _ = bytes.Cut(key, []byte("\r\n"))
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	response := []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Protocol: refresher.v1\r\nSec-WebSocket-Accept: ")
	_, err := unix.Write(fd, append(base64.StdEncoding.AppendEncode(response, sum[:]), endOfHead...))
	return err
}

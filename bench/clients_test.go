//go:build linux

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// dialect has functions that make the clients' messages for one kind of server.
type dialect struct {
	join   func(c *call, ttl int) string // first message of a new client; ttl is the lifetime of tokens in seconds
	resume func(c *call, ttl int) string // first message of a client that reconnects
	send   func(text string) string      // message of this protocol with the given content
}

var plain = dialect{
	join: func(c *call, ttl int) string {
		return fmt.Sprintf(`{"type":"join","rtc":{"channel":"c","uid":%d,"role":"publisher"},"rtm":{"userId":"%[1]d"},"ttl":%d}`, c.n, ttl)
	},
	resume: func(c *call, _ int) string {
		return fmt.Sprintf(`{"type":"resume","session":%q,"key":%q,"seq":%d}`, c.session, c.key, c.seq)
	},
	send: func(text string) string { return text },
}

// centrifugal is the JSON protocol of centrifuge, whose clients send the same first message when they connect and when
// they reconnect.
var centrifugal = dialect{
	join:   func(*call, int) string { return `{"id":1,"connect":{}}` },
	resume: func(*call, int) string { return `{"id":1,"connect":{}}` },
	send:   func(text string) string { return `{"send":{"data":` + text + `}}` },
}

type call struct {
	n    int // number of the client, from 1
	fd   int // socket; 0 while the client is not connected
	busy bool
	at   int // index of the current step
	seen []byte

	session, key string // from the message joined
	seq          uint64 // sequence number of the newest bundle
	jitter       time.Duration
}

type step struct {
	do    func(*clients, *call) error
	until string // text that the answer contains; empty if there is no answer; hangUp if the server closes the connection instead
}

const hangUp = "\x00"

// These are the operations of a client, each as a list of steps. A client begins a step when it has the answer to the
// previous one. The last step of connecting, the ack of the first bundle, has no answer.
var (
	connecting   = []step{{(*clients).connect, "\r\n\r\n"}, {(*clients).join, `"joined"`}, {(*clients).ack, ""}}
	reconnecting = []step{{(*clients).reconnect, "\r\n\r\n"}, {(*clients).resume, `"joined"`}, {(*clients).ack, ""}}
	refused      = []step{{(*clients).connect, "\r\n\r\n"}, {(*clients).join, closeOverload}, {(*clients).answerClose, hangUp}}
	pinging      = []step{{(*clients).ping, `"pong"`}}
	renewing     = []step{{(*clients).renew, `"token-privilege-will-expire"`}, {(*clients).ack, ""}}
	dialing      = []step{{(*clients).dial, ""}}
	requesting   = []step{{(*clients).request, `"rtmToken"`}}
)

// clients runs many clients in one goroutine.
type clients struct {
	dialect
	server unix.SockaddrInet4
	ttl    int                           // requested lifetime of tokens, in seconds
	onPush func(c *call, message []byte) // run calls it for each push, unless it is nil
	poller *poller
	byFD   map[int]*call
	all    []*call
	in     int64 // received bytes, with WebSocket framing and the handshake
	out    int64 // bytes sent
	buffer [64 << 10]byte
}

func newClients(d dialect, address string) (*clients, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	p, err := newPoller()
	return &clients{
		dialect: d, server: unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, ttl: int(lifetime.Seconds()),
		poller: p, byFD: make(map[int]*call),
	}, err
}

// more adds clients that are not connected yet, and returns them.
func (s *clients) more(count int) []*call {
	for range count {
		s.all = append(s.all, &call{n: len(s.all) + 1})
	}
	return s.all[len(s.all)-count:]
}

// close resets all connections, so that the kernel has no memory for them when the next server is measured.
func (s *clients) close() {
	for fd := range s.byFD {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(fd)
	}
	_ = unix.Close(s.poller.fd)
}

// patience is how long a server may take to answer.
const patience = 15 * time.Second

// run lets the clients of the list `who`, in turn, do all steps, until `count` clients have done them. If the interval
// `every` is 0, `atOnce` clients are busy at a time. Otherwise a client begins after each interval, even while earlier
// clients still wait for answers.
func (s *clients) run(steps []step, who []*call, count, atOnce int, every time.Duration) error {
	begun, done := 0, 0
	start := time.Now()
	for last := start; done < count; {
		for now := time.Now(); begun < count; begun++ {
			if every > 0 && now.Sub(start) < time.Duration(begun)*every || every == 0 && begun-done >= atOnce {
				break
			}
			c := who[begun%len(who)]
			if c.busy {
				break
			}
			c.busy, c.at, c.seen = true, 0, c.seen[:0]
			if err := s.advance(c, steps, &done); err != nil {
				return err
			}
		}
		timeout := time.Second
		if every > 0 && begun < count {
			timeout = max(0, time.Until(start.Add(time.Duration(begun)*every)))
		}
		before := done
		err := s.read(timeout, func(c *call, ended bool) error {
			if !c.busy {
				return s.pushed(c, ended)
			}
			switch until := steps[c.at].until; {
			case ended && until != hangUp:
				return fmt.Errorf("client %d: the server closed the connection in step %d, after %.200q", c.n, c.at+1, c.seen)
			case !ended && !bytes.Contains(c.seen, []byte(until)):
				return nil
			}
			c.store()
			c.at++
			c.seen = c.seen[:0]
			return s.advance(c, steps, &done)
		})
		if err != nil {
			return err
		}
		if done > before {
			last = time.Now()
		} else if time.Since(last) > patience {
			return fmt.Errorf("%d of %d had an answer, and for %v nobody else", done, count, patience)
		}
	}
	return nil
}

// advance does the client's next steps, up to the first one that has an answer to wait for.
func (s *clients) advance(c *call, steps []step, done *int) error {
	for ; c.at < len(steps); c.at++ {
		if err := steps[c.at].do(s, c); err != nil {
			return fmt.Errorf("client %d, step %d: %w", c.n, c.at+1, err)
		}
		if steps[c.at].until != "" {
			return nil
		}
	}
	c.busy = false
	*done++
	return nil
}

// read waits for input. It calls the function `each` for each client that has received something, or whose connection
// has ended.
func (s *clients) read(timeout time.Duration, each func(c *call, ended bool) error) error {
	events, err := s.poller.wait(timeout)
	if err != nil {
		return err
	}
	for _, e := range events {
		c := s.byFD[int(e.Fd)]
		if c == nil {
			continue // an earlier call of the function `each` has closed this connection
		}
		n, err := unix.Read(c.fd, s.buffer[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		ended := n <= 0
		if ended {
			s.disconnect(c)
		} else {
			s.in += int64(n)
			c.seen = append(c.seen, s.buffer[:n]...)
		}
		if err := each(c, ended); err != nil {
			return err
		}
	}
	return nil
}

// listen handles pushes for some time.
func (s *clients) listen(span time.Duration) error {
	for end := time.Now().Add(span); time.Now().Before(end); {
		if err := s.read(time.Until(end), s.pushed); err != nil {
			return err
		}
	}
	return nil
}

// pushed acks each bundle that the server has pushed without a request.
func (s *clients) pushed(c *call, ended bool) error {
	if ended {
		return fmt.Errorf("client %d: the server closed the connection", c.n)
	}
	for {
		op, message, rest := unframe(c.seen)
		if op == 0 {
			c.seen = append(c.seen[:0], rest...)
			return nil
		}
		c.seen = rest
		seq := number(message, `"seq":`)
		if op != opText || seq == 0 {
			continue
		}
		if s.onPush != nil {
			s.onPush(c, message)
		}
		c.seq = seq
		if err := s.ack(c); err != nil {
			return err
		}
	}
}

// dial opens a TCP connection.
func (s *clients) dial(c *call) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.fd, s.byFD[fd] = fd, c
	if err := unix.Connect(fd, &s.server); err != nil {
		return err
	}
	return s.poller.add(fd)
}

func (s *clients) connect(c *call) error {
	if err := s.dial(c); err != nil {
		return err
	}
	return s.write(c, []byte("GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: refresher.v1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
}

func (s *clients) disconnect(c *call) {
	if c.fd != 0 {
		delete(s.byFD, c.fd)
		_ = unix.Close(c.fd)
		c.fd = 0
	}
}

func (s *clients) reconnect(c *call) error {
	s.disconnect(c)
	return s.connect(c)
}

func (s *clients) join(c *call) error   { return s.text(c, s.dialect.join(c, s.ttl)) }
func (s *clients) resume(c *call) error { return s.text(c, s.dialect.resume(c, s.ttl)) }
func (s *clients) ping(c *call) error   { return s.text(c, s.send(`{"type":"ping"}`)) }
func (s *clients) renew(c *call) error  { return s.text(c, s.send(`{"type":"renew"}`)) }
func (s *clients) ack(c *call) error {
	return s.text(c, s.send(fmt.Sprintf(`{"type":"ack","seq":%d}`, c.seq)))
}

func (s *clients) answerClose(c *call) error {
	_ = s.write(c, frame(opClose, closeOverload, true)) // the error is ignored: the server may have closed the connection already
	return nil
}

func (s *clients) request(c *call) error {
	return s.write(c, []byte("GET /rte/c/publisher/uid/1/ HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

func (s *clients) text(c *call, text string) error { return s.write(c, frame(opText, text, true)) }

func (s *clients) write(c *call, b []byte) error {
	s.out += int64(len(b))
	_, err := unix.Write(c.fd, b)
	return err
}

// store stores what a client needs of an answer: the seq, the session and its key.
func (c *call) store() {
	if seq := number(c.seen, `"seq":`); seq != 0 {
		c.seq = seq
	}
	if session := text(c.seen, `"session":"`); session != "" {
		c.session, c.key = session, text(c.seen, `"key":"`)
	}
}

// number returns the number that follows the text `name` in a JSON message, or 0 if the message does not contain
// `name`.
func number(message []byte, name string) (n uint64) {
	_, value, _ := bytes.Cut(message, []byte(name))
	for i := 0; i < len(value) && value[i] >= '0' && value[i] <= '9'; i++ {
		n = 10*n + uint64(value[i]-'0')
	}
	return n
}

// text returns the string that follows the text `name` in a JSON message, up to the next quote. It is empty if the
// message does not contain `name`.
func text(message []byte, name string) string {
	_, value, _ := bytes.Cut(message, []byte(name))
	value, _, _ = bytes.Cut(value, []byte(`"`))
	return string(value)
}

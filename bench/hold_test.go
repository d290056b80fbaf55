package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// dialect is what a client says to one kind of server, and hears from it.
type dialect struct {
	// path is that of the WebSocket; empty: the server speaks HTTP only.
	path string
	// join is what client n sends first, and joined what is in the answer.
	join   func(n int) []byte
	joined string
	// renew asks for the bundle seq, renewed is in the answer, ack confirms it.
	renew   func(seq int) []byte
	renewed func(seq int) string
	ack     func(seq int) []byte
}

var dialects = map[string]*dialect{
	"refresher": {
		path: "/v1/ws",
		join: func(n int) []byte {
			return frame(fmt.Sprintf(`{"type":"join","rtc":{"channel":"c","uid":%d},"rtm":{"userId":"%d"}}`, n+1, n+1)) // 0 is no name
		},
		joined:  `"joined"`,
		renew:   func(int) []byte { return frame(`{"type":"renew"}`) },
		renewed: func(seq int) string { return fmt.Sprintf(`"seq":%d,`, seq) },
		ack:     func(seq int) []byte { return frame(fmt.Sprintf(`{"type":"ack","seq":%d}`, seq)) },
	},
	// The library as it comes has no protocol: any answer will do.
	"library": {
		path:   "/",
		join:   func(int) []byte { return frame("{}") },
		joined: `"joined"`,
	},
	"centrifuge": {
		path:    "/",
		join:    func(int) []byte { return frame(`{"id":1,"connect":{}}`) },
		joined:  `"connect":{`,
		renew:   func(seq int) []byte { return frame(fmt.Sprintf(`{"send":{"data":{"renew":%d}}}`, seq)) },
		renewed: func(seq int) string { return fmt.Sprintf(`"seq":%d,`, seq) },
		ack:     func(seq int) []byte { return frame(fmt.Sprintf(`{"send":{"data":{"ack":%d}}}`, seq)) },
	},
	"http": {
		join:    func(int) []byte { return get("/ping") },
		joined:  `"pong"`,
		renew:   func(int) []byte { return get("/rte/c/publisher/uid/1/") },
		renewed: func(int) string { return `"rtmToken"` },
		ack:     func(int) []byte { return nil },
	},
}

func get(path string, headers ...string) []byte {
	head := append([]string{"GET " + path + " HTTP/1.1", "Host: localhost"}, headers...)
	return []byte(strings.Join(head, "\r\n") + "\r\n\r\n")
}

// frame is a text frame as a client sends it, masked with zeros.
func frame(text string) []byte {
	f := []byte{0x81}
	if len(text) < 126 {
		f = append(f, 0x80|byte(len(text)))
	} else {
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(len(text)))
	}
	return append(append(f, 0, 0, 0, 0), text...)
}

// atOnce is how many clients renew at the same time.
const atOnce = 64

// hold connects clients and then carries out orders: "renew" has each ask for its
// next bundle and confirm it.
func hold(order string) error {
	fields := strings.Fields(order)
	d, address := dialects[fields[0]], fields[1]
	count, err := strconv.Atoi(fields[2])
	if err != nil {
		return err
	}
	conns := make([]net.Conn, count)
	for n := range conns {
		c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		conns[n] = c
		if d.path != "" {
			upgrade := get(d.path, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
			if err := exchange(c, upgrade, "\r\n\r\n"); err != nil {
				return fmt.Errorf("client %d connects: %w", n, err)
			}
		}
		if err := exchange(c, d.join(n), d.joined); err != nil {
			return fmt.Errorf("client %d joins: %w", n, err)
		}
	}
	orders := bufio.NewScanner(os.Stdin)
	for seq := 2; ; seq++ { // 1 came with the join
		fmt.Println("ready")
		if !orders.Scan() {
			return orders.Err()
		}
		renew, renewed, ack := d.renew(seq), d.renewed(seq), d.ack(seq)
		var parts sync.WaitGroup
		failed := make(chan error, atOnce)
		for part := range slices.Chunk(conns, (len(conns)+atOnce-1)/atOnce) {
			parts.Go(func() {
				for _, c := range part {
					err := exchange(c, renew, renewed)
					if err == nil && ack != nil {
						_, err = c.Write(ack)
					}
					if err != nil {
						failed <- fmt.Errorf("bundle %d: %w", seq, err)
						return
					}
				}
			})
		}
		parts.Wait()
		close(failed)
		if err := <-failed; err != nil {
			return err
		}
	}
}

// exchange sends a request and reads until the answer to it has a text in it.
func exchange(c net.Conn, request []byte, answer string) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	part := make([]byte, 4096)
	for seen := ""; ; {
		n, err := c.Read(part)
		if err != nil {
			return fmt.Errorf("%q: %w", seen, err)
		}
		if seen += string(part[:n]); strings.Contains(seen, answer) {
			return nil
		}
	}
}

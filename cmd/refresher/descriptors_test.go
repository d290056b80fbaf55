package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"refresher/client"
	"refresher/test/program"
	"refresher/test/redistest"
)

// A node may have maxDescriptors file descriptors, and `flooding` clients connect to it.
const maxDescriptors, flooding = 64, 80

func limited(c *exec.Cmd) *exec.Cmd {
	c.Args = append([]string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, maxDescriptors), c.Path}, c.Args[1:]...)
	c.Path = "/bin/sh"
	return c
}

// With more clients than file descriptors, a call goes on, probes are answered, the node reconnects to Redis after an
// outage, and it can still read files.
func TestDescriptorsAreKeptBack(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	ops := program.Address(t)
	c := command(t, append(secretEnv, "AGORA_APP_ID="+appID), "serve --listen=127.0.0.1:0 --ops-listen="+ops+" --redis-url="+redis.URL()+
		" --app-certificate-file=certificates --min-ttl=4s --drain-window=0")
	write(t, c.Dir, "certificates", certificate)
	s := startCommand(t, limited(c))
	call := hold(t, s, grant(t, secretEnv, "--channels=c --uids=1"), client.Config{RTC: &client.RTC{Channel: "c", UID: 1}})
	// flood opens connections, which stay open, and returns how many of them the node accepted.
	flood := func() (held int) {
		for range flooding {
			if socket, _, err := websocket.Dial(t.Context(), "ws://"+s.addr+"/v1/ws", nil); err == nil {
				t.Cleanup(func() { _ = socket.CloseNow() })
				held++
			}
		}
		return held
	}
	works(t, nil, "health --ready --ops-listen="+ops)
	if held := flood(); held == 0 || held > maxDescriptors-30 {
		t.Errorf("%d of %d clients got in", held, flooding)
	}
	s.find(`"out of file descriptors for clients`)
	works(t, nil, "health --ready --ops-listen="+ops)

	redis.Kill()
	s.find(`"Redis cannot be reached`)
	flood() // if the node kept no descriptors in reserve, these clients would take those of the lost connections to Redis
	works(t, nil, "health --ops-listen="+ops)
	redis.Restart()
	s.find(`"Redis is back`)
	write(t, c.Dir, "certificates", strings.Repeat("0", 32)+"\n"+certificate)
	if err := c.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.find(`"certificate rotation started`)
	for len(call.renewals) > 0 {
		<-call.renewals
	}
	call.awaitRenewal("schedule")
}

func TestDescriptorsAreKeptBackBehindProxies(t *testing.T) {
	s := startCommand(t, limited(command(t, credentialsEnv,
		"serve --auth=none --listen=127.0.0.1:0 --ops-listen=127.0.0.1:0 --drain-window=0 --proxy-protocol --trusted-proxies=127.0.0.1")))
	for range flooding {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "PROXY TCP4 192.0.2.1 192.0.2.200 5000 443\r\n") // the error is ignored: the node may have closed the connection already
	}
	works(t, nil, "health --timeout=5s --ops-listen="+s.ops)
	s.find(`"out of file descriptors for clients`)
}

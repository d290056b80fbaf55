//go:build linux

package bench

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"refresher/test/program"
)

// poller waits for many sockets by epoll, without goroutines and without Go's own poller.
// The control server and the clients of every server are loops around it.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poller{fd: fd}, err
}

// add has wait report when the socket can be read. Closing the socket removes it.
func (p *poller) add(fd int) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// wait returns the sockets that can be read, none after the timeout. Below zero it has no timeout.
func (p *poller) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.fd, p.events[:], ms)
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	return p.events[:max(n, 0)], err
}

// listen opens a TCP socket on a free port of the loopback address.
func listen() (fd int, address string, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, "", err
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, "", err
	}
	if err = unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return 0, "", err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, "", err
	}
	return fd, program.At(bound.(*unix.SockaddrInet4).Port), nil
}

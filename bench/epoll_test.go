//go:build linux

package bench

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"refresher/test/program"
)

// poller waits for many sockets by epoll, without goroutines and without Go's own poller. The control server and all
// clients use it.
type poller struct {
	fd     int
	events [256]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poller{fd: fd}, err
}

// add registers a socket, so that the method `wait` returns it when it has input. Closing the socket ends the
// registration.
func (p *poller) add(fd int) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// wait returns the sockets with input, or none after the timeout. With a negative timeout it waits without limit.
func (p *poller) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	var limit *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(timeout.Nanoseconds())
		limit = &t
	}
	// epoll_pwait2 has a timeout in nanoseconds. The timeout of epoll_wait is in milliseconds, which is too coarse:
	// five heartbeats are due in each millisecond.
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(len(p.events)), uintptr(unsafe.Pointer(limit)), 0, 0)
	switch errno {
	case 0:
		return p.events[:n], nil
	case unix.EINTR:
		return nil, nil
	}
	return nil, errno
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

package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"refresher/internal/origin"
)

// unixPrefix starts a listen address that is the path of a Unix socket.
const unixPrefix = "unix:"

// maxSocketPath is the longest path of a Unix socket, in bytes, that every system accepts: BSD and macOS have
// the shortest sun_path, 104 bytes with the final zero.
const maxSocketPath = 103

// IsLocal reports whether an address can only be reached from this machine. The address is host:port, or
// "unix:" and the path of a socket.
func IsLocal(address string) (bool, error) {
	path, ok := strings.CutPrefix(address, unixPrefix)
	switch {
	case !ok:
		return IsLoopback(address)
	case !filepath.IsAbs(path):
		return false, fmt.Errorf("want an absolute path, such as unix:/run/refresher/refresher.sock; have %q", address)
	case len(path) > maxSocketPath:
		return false, fmt.Errorf("a path of a Unix socket has %d bytes at most; have %d", maxSocketPath, len(path))
	default:
		return true, nil
	}
}

// IsLoopback reports whether host:port can only be reached from this machine.
func IsLoopback(address string) (bool, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("want host:port, such as 127.0.0.1:8080; have %q", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false, fmt.Errorf("want a port from 0 to 65535; have %q", port)
	}
	return origin.IsLoopback(host), nil
}

// Listen is net.Listen without TCP keep-alive, which takes four system calls for each connection. Heartbeats and idle
// timeouts detect dead clients sooner than keep-alive would.
func Listen(network, address string) (net.Listener, error) {
	return (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), network, address)
}

// Open listens on an address in one of the forms that IsLocal describes. The parameter `mode` is the file mode of a
// Unix socket; the file is removed when the listener is closed. The parameter `listen` is the function Listen, or a
// replacement in tests.
func Open(address string, mode fs.FileMode, listen func(network, address string) (net.Listener, error)) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, unixPrefix)
	if !ok {
		return listen("tcp", address)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes the socket file that a killed process left behind. It returns an error, and leaves the
// file, if the file is not a socket or a process listens on it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists, and is not a socket", path)
	}
	c, err := (&net.Dialer{Timeout: time.Second}).Dial("unix", path)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("%s: another process listens on it", path)
	case errors.Is(err, syscall.ECONNREFUSED): // no process listens on it
		return os.Remove(path)
	default:
		return fmt.Errorf("whether another process listens on it is not known: %w", err)
	}
}

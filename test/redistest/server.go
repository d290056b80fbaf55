package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"refresher/test/program"
)

// Server is a redis-server process of a test.
type Server struct {
	t      testing.TB
	kind   kind
	dir    string
	host   string // the address on which it listens
	port   int
	config []string
	log    program.Journal
	own    atomic.Int64 // number of commands that this package has sent for itself in the current run

	mu      sync.Mutex
	process *program.Process
	paused  bool
	began   time.Time
	gone    time.Time // time of the last kill or pause
}

// kind has the differences between the ways to run redis-server: with or without TLS, as a server or as a sentinel.
type kind struct {
	scheme string
	port   string
	args   []string
	ready  string // the log line that says that clients can connect
}

var (
	plainKind    = kind{scheme: "redis", port: "port", ready: "Ready to accept connections"}
	tlsKind      = kind{scheme: "rediss", port: "tls-port", ready: plainKind.ready}
	sentinelKind = kind{scheme: "redis", port: "port", args: []string{"--sentinel"}, ready: `\+monitor master`}
	tlsSentinel  = kind{scheme: "rediss", port: "tls-port", args: sentinelKind.args, ready: sentinelKind.ready}
)

// Start runs a server that keeps nothing on disk. The lines of config are appended to its
// configuration file and override earlier lines with the same setting, such as "appendonly yes"
// or "user default off".
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	s := newServer(t, plainKind)
	s.start(config...)
	return s
}

func newServer(t testing.TB, kind kind) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis-") //nolint:usetesting // t.TempDir has the test's name in it, too long for a Unix socket.
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	s := &Server{t: t, kind: kind, dir: dir, host: loopback}
	t.Cleanup(func() {
		if s.process != nil {
			s.process.Kill()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("redistest: %v", err)
		}
	})
	// the longest path of a Unix socket on Linux
	const longest = 107
	if len(s.socket()) > longest {
		t.Fatalf("redistest: no Unix socket can have so long a name: %s: set TMPDIR to a shorter folder", s.socket())
	}
	return s
}

// start runs the server for the first time, on a new port.
func (s *Server) start(config ...string) {
	s.t.Helper()
	s.config = config
	const tries = 10
	for try := 1; ; try++ {
		s.port = freePort(s.t)
		s.configure()
		taken, err := s.run()
		if err == nil {
			return
		}
		if !taken || try == tries {
			s.t.Fatalf("redistest: start redis-server: %v\n%s", err, s.log.Tail(tailLines))
		}
	}
}

// configure writes the configuration file. A restart does not call it again: sentinels, and the servers that they
// watch, change their files, and need these changes after a restart.
func (s *Server) configure() {
	s.t.Helper()
	lines := append([]string{
		"port 0", // the port for TLS has its own setting below
		s.kind.port + " " + strconv.Itoa(s.port),
		"bind " + s.host,
		"unixsocket " + s.socket(),
		"dir " + s.dir,
		`logfile ""`,
		`save ""`,
		"appendonly no",
		"rdb-del-sync-files yes", // without this setting, a restarted replica would have the data of its last synchronisation
		"repl-diskless-sync-delay 0",
		"user " + ownUser + " on >" + ownPassword + " ~* &* +@all",
	}, s.config...)
	if err := os.WriteFile(s.configFile(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// run starts the process and returns when it accepts connections. The result `taken` is true if another program has its
// port.
func (s *Server) run() (taken bool, err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return false, fmt.Errorf("%w: make setup installs it", err)
	}
	began := time.Now()
	p, err := program.Start(&s.log, program.Command{
		Path: path, Args: append([]string{s.configFile()}, s.kind.args...), Dir: s.dir,
	})
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	s.process, s.paused, s.began = p, false, began
	s.mu.Unlock()
	s.own.Store(0)
	err = awaitLines(&s.log, began, p.Done(), s.kind.ready)
	if errors.Is(err, program.ErrEnded) {
		taken = awaitLines(&s.log, began, p.Done(), "Address already in use") == nil
	}
	return taken, err
}

// Kill ends the server with SIGKILL, like a crash, and returns when it has ended. It does
// nothing if the server is not running.
func (s *Server) Kill() {
	s.leave(false).Kill()
}

// Restart runs a killed server again with the same port, folder and configuration, and returns
// when it accepts connections. Its data are lost unless the configuration keeps them on disk.
func (s *Server) Restart() {
	s.t.Helper()
	if !s.process.Ended() {
		s.t.Fatalf("redistest: restart %s: it runs: kill it first", s.Addr())
	}
	if _, err := s.run(); err != nil {
		s.t.Fatalf("redistest: restart %s: %v\n%s", s.Addr(), err, s.log.Tail(tailLines))
	}
}

// Pause stops the server's process (SIGSTOP): connections stay open, and requests get no answer.
func (s *Server) Pause() {
	s.t.Helper()
	if !s.answers() {
		s.t.Fatalf("redistest: pause %s: it is killed or paused already", s.Addr())
	}
	if err := s.leave(true).Pause(); err != nil {
		s.t.Fatalf("redistest: pause %s: %v", s.Addr(), err)
	}
}

// Continue continues a paused server.
func (s *Server) Continue() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.Resume(); err != nil {
		s.t.Fatalf("redistest: continue %s: %v", s.Addr(), err)
	}
	s.paused = false
}

// leave records the time at which the server stops answering.
func (s *Server) leave(paused bool) *program.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused && !s.process.Ended() {
		s.gone = time.Now()
	}
	s.paused = paused
	return s.process
}

func (s *Server) answers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.paused && !s.process.Ended()
}

// await returns when the log has, since the given time, lines that match the patterns, in their order.
func (s *Server) await(since time.Time, patterns ...string) {
	s.t.Helper()
	if err := awaitLines(&s.log, since, s.process.Done(), patterns...); err != nil {
		s.t.Fatalf("redistest: %s: %v\n%s", s.Addr(), err, s.log.Tail(tailLines))
	}
}

// Addr returns the server's address, as host:port.
func (s *Server) Addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// URL returns the server's address for a client: redis://127.0.0.1:port, or rediss:// with
// TLS.
func (s *Server) URL() string { return s.kind.scheme + "://" + s.Addr() }

// UnixURL returns the server's Unix socket for a client: unix:///folder/redis.sock.
func (s *Server) UnixURL() string { return "unix://" + s.socket() }

func (s *Server) socket() string     { return filepath.Join(s.dir, "redis.sock") }
func (s *Server) configFile() string { return filepath.Join(s.dir, "redis.conf") }

// lasting returns the test's context without its cancellation: while a test's cleanups run, its own context is
// cancelled, and the cleanups may still need the server.
func lasting(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

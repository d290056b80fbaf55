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

// Server is a redis-server of a test's own.
type Server struct {
	t      testing.TB
	kind   kind
	dir    string
	host   string // the address that it listens on
	port   int
	config []string
	log    program.Journal
	own    atomic.Int64 // commands of this run that are this package's, not the test's

	mu      sync.Mutex
	process *program.Process
	paused  bool
	began   time.Time // when it was last started
	gone    time.Time // when it was last killed or paused
}

// kind is what differs between the ways to run redis-server.
type kind struct {
	scheme string
	port   string   // the setting that takes the port
	args   []string // after the configuration file
	ready  string   // what it logs when clients can connect
}

var (
	plainKind    = kind{scheme: "redis", port: "port", ready: "Ready to accept connections"}
	tlsKind      = kind{scheme: "rediss", port: "tls-port", ready: plainKind.ready}
	sentinelKind = kind{scheme: "redis", port: "port", args: []string{"--sentinel"}, ready: `\+monitor master`}
	tlsSentinel  = kind{scheme: "rediss", port: "tls-port", args: sentinelKind.args, ready: sentinelKind.ready}
)

// Start runs a server that keeps nothing on disk. The lines of config are added
// to its configuration file and win over what stands there, such as
// "appendonly yes" or "user default off".
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	s := newServer(t, plainKind)
	s.start(config...)
	return s
}

// newServer prepares a server that does not run yet.
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
	// What the system has room for in a socket's address, on Linux.
	const longest = 107
	if len(s.socket()) > longest {
		t.Fatalf("redistest: no Unix socket can have so long a name: %s: set TMPDIR to a shorter folder", s.socket())
	}
	return s
}

// start runs the server for the first time, on a port of its own.
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

// configure writes the configuration file. That happens once: sentinels, and
// the servers they watch, change theirs and need it as they left it.
func (s *Server) configure() {
	s.t.Helper()
	lines := append([]string{
		"port 0", // for TLS, which has a setting of its own below
		s.kind.port + " " + strconv.Itoa(s.port),
		"bind " + s.host,
		"unixsocket " + s.socket(),
		"dir " + s.dir,
		`logfile ""`, // the standard output
		`save ""`,
		"appendonly no",
		"rdb-del-sync-files yes", // or a replica would come back with its last synchronisation
		"repl-diskless-sync-delay 0",
		"user " + ownUser + " on >" + ownPassword + " ~* &* +@all",
	}, s.config...)
	if err := os.WriteFile(s.configFile(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatalf("redistest: %v", err)
	}
}

// run starts the process and returns when it takes connections, or else says
// whether somebody else had its port.
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

// Kill ends the server with SIGKILL, as a crash would, and returns when it is
// gone. Killing one that is gone does nothing.
func (s *Server) Kill() {
	s.leave(false).Kill()
}

// Restart runs a server again that was killed, with the same port, folder and
// configuration, and returns when it takes connections. It has no data unless
// the configuration made it keep them.
func (s *Server) Restart() {
	s.t.Helper()
	if !s.process.Ended() {
		s.t.Fatalf("redistest: restart %s: it runs: kill it first", s.Addr())
	}
	if _, err := s.run(); err != nil {
		s.t.Fatalf("redistest: restart %s: %v\n%s", s.Addr(), err, s.log.Tail(tailLines))
	}
}

// Pause stops the server with SIGSTOP, as if its machine hung: connections stay,
// the system even takes new ones, and nothing is answered.
func (s *Server) Pause() {
	s.t.Helper()
	if !s.answers() {
		s.t.Fatalf("redistest: pause %s: it is killed or paused already", s.Addr())
	}
	if err := s.leave(true).Pause(); err != nil {
		s.t.Fatalf("redistest: pause %s: %v", s.Addr(), err)
	}
}

// Continue lets a paused server run again.
func (s *Server) Continue() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.Resume(); err != nil {
		s.t.Fatalf("redistest: continue %s: %v", s.Addr(), err)
	}
	s.paused = false
}

// leave notes when the server stopped answering.
func (s *Server) leave(paused bool) *program.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused && !s.process.Ended() {
		s.gone = time.Now()
	}
	s.paused = paused
	return s.process
}

// answers tells whether the server runs, as far as the test let it.
func (s *Server) answers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.paused && !s.process.Ended()
}

// AwaitLog returns when lines that match the patterns were logged since then, in
// their order.
func (s *Server) AwaitLog(since time.Time, patterns ...string) {
	s.t.Helper()
	s.await(since, patterns...)
}

// await waits for lines of the server's log.
func (s *Server) await(since time.Time, patterns ...string) {
	s.t.Helper()
	if err := awaitLines(&s.log, since, s.process.Done(), patterns...); err != nil {
		s.t.Fatalf("redistest: %s: %v\n%s", s.Addr(), err, s.log.Tail(tailLines))
	}
}

// Addr is where the server listens, as host:port.
func (s *Server) Addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// URL is the server's address as a client takes it: redis://127.0.0.1:port, or
// rediss:// with TLS.
func (s *Server) URL() string { return s.kind.scheme + "://" + s.Addr() }

// UnixURL is the server's Unix socket as a client takes it: unix:///folder/redis.sock.
func (s *Server) UnixURL() string { return "unix://" + s.socket() }

func (s *Server) socket() string     { return filepath.Join(s.dir, "redis.sock") }
func (s *Server) configFile() string { return filepath.Join(s.dir, "redis.conf") }

// lasting is the test's context without its end, which comes before the cleanups
// that may still need the server.
func lasting(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"refresher/test/program"
)

// If the log's reader exits or stops, or its disk is full, calls go on, probes are answered, and the service
// stops in good order. At level debug each renewal logs a line.

func TestCallsOutliveTheReaderOfTheLog(t *testing.T) {
	t.Parallel()
	reader, writer := pipe(t)
	s := startLogging(t, writer, "serve", "--auth=none")
	findLine(t, reader, `"serving"`)
	closeFiles(t, reader, writer)
	s.demandCallsGoOn()
	if s.metric("refresher_log_lines_dropped_total") == 0 {
		t.Error("no line counts as lost")
	}
	s.demandOrderlyStop()
}

func TestCallsDoNotWaitForTheReaderOfTheLog(t *testing.T) {
	t.Parallel()
	reader, writer := pipe(t)
	s := startLogging(t, writer, "serve", "--auth=none")
	findLine(t, reader, `"serving"`)
	fill(t, writer)
	closeFiles(t, writer)
	s.demandCallsGoOn()
	findLine(t, reader, `"session joined"`) // this line was queued before the pipe was full
	if dropped := s.metric("refresher_log_lines_dropped_total"); dropped != 0 {
		t.Errorf("%v lines count as lost", dropped)
	}
	s.demandOrderlyStop()
	closeFiles(t, reader)
}

func TestAStopDoesNotWaitForTheReaderOfTheLog(t *testing.T) {
	t.Parallel()
	reader, writer := pipe(t)
	s := startLogging(t, writer, "serve", "--auth=none")
	findLine(t, reader, `"serving"`)
	fill(t, writer)
	closeFiles(t, writer)
	s.demandOrderlyStop()
	closeFiles(t, reader) // using the file here keeps the garbage collector from closing it earlier
}

func TestCallsGoOnWhileTheDiskOfTheLogIsFull(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := startLogging(t, full, "serve", "--auth=none")
	s.demandCallsGoOn()
	if s.metric("refresher_log_lines_dropped_total") == 0 {
		t.Error("no line counts as lost")
	}
	s.demandOrderlyStop()
	closeFiles(t, full)
}

// The demo goes on if nothing reads the greeting that it prints.
func TestTheDemoOutlivesTheReaderOfItsOutput(t *testing.T) {
	t.Parallel()
	reader, writer := pipe(t)
	closeFiles(t, reader)
	s := startLogging(t, writer, "demo")
	s.demandCallsGoOn()
	s.demandOrderlyStop()
	closeFiles(t, writer)
}

func TestACommandEndsWithTheReaderOfItsOutput(t *testing.T) {
	reader, writer := pipe(t)
	closeFiles(t, reader)
	c := command(t, nil, "version")
	c.Stdout = writer
	err := c.Run()
	closeFiles(t, writer)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
		t.Errorf("ended with %v, want SIGPIPE", err)
	}
}

// loggingService is a service whose standard output and error are files of the test.
type loggingService struct {
	t         *testing.T
	cmd       *exec.Cmd
	addr, ops string
}

func startLogging(t *testing.T, output *os.File, args ...string) *loggingService {
	t.Helper()
	s := &loggingService{t: t, addr: program.Address(t), ops: program.Address(t)}
	s.cmd = command(t, credentialsEnv, append(args, "--listen="+s.addr, "--ops-listen="+s.ops,
		"--log-format=json", "--log-level=debug", "--min-ttl=4s", "--drain-window=0")...)
	s.cmd.Stdout, s.cmd.Stderr = output, output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// demandCallsGoOn holds a call until its second renewal, and queries both probes.
func (s *loggingService) demandCallsGoOn() {
	s.t.Helper()
	stdout, stderr, code := run(s.t, nil, "call", "--url=ws://"+s.addr+"/v1/ws", "--ttl=4", "--renewals=2")
	if code != 0 || !strings.Contains(stdout, "2 renewals confirmed") {
		s.t.Fatalf("the call ended with %d: %s%s", code, stdout, stderr)
	}
	for _, args := range [][]string{{"health"}, {"health", "--ready"}} {
		if _, stderr, code := run(s.t, []string{"REFRESHER_OPS_LISTEN=" + s.ops}, args...); code != 0 {
			s.t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

func (s *loggingService) metric(name string) float64 {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.ops+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		s.t.Fatalf("no metric %s", name)
	}
	value, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

func (s *loggingService) demandOrderlyStop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("stopped with %v", err)
	}
}

// pipe returns a new pipe; the test closes its ends.
func pipe(t *testing.T) (reader, writer *os.File) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return reader, writer
}

// closeFiles closes this process's descriptors of the files.
func closeFiles(t *testing.T, files ...*os.File) {
	t.Helper()
	for _, f := range files {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// findLine reads the log up to a line that matches the regular expression `pattern`.
func findLine(t *testing.T, log io.Reader, pattern string) {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if expression.Match(lines.Bytes()) {
			return
		}
	}
	t.Fatalf("no %s in the log", pattern)
}

// fill writes to a pipe until it is full. It opens the pipe again for this, so that writes of the service
// still block.
func fill(t *testing.T, writer *os.File) {
	t.Helper()
	path := filepath.Join("/proc/self/fd", strconv.Itoa(int(writer.Fd())))
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	for err == nil {
		_, err = syscall.Write(fd, []byte("\n"))
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Fatal(err)
	}
}

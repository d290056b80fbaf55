//go:build linux

package bench

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"

	"refresher/test/nodetest"
	"refresher/test/program"
)

// process is a running server. It has a core of its own if the machine has two.
type process struct {
	*program.Process
	log     *program.Journal
	address string // the address on which it listens, or the rest of its first line
	ops     string // address of refresher's operations port; empty for other servers
}

// starter starts a server, and returns when the server is ready.
type starter func(*testing.B, choice) (*process, error)

const (
	listening    = "listening on " // prefix of a child's first line, before its address
	memoryPrefix = "memory "       // prefix of a child's answer to SIGUSR1, before its heap and stacks in bytes
)

// launch runs a program on the servers' core until the measurement ends.
func launch(b *testing.B, c program.Command) (*process, error) {
	p := &process{log: new(program.Journal)}
	var err error
	if p.Process, err = program.Start(p.log, c); err != nil {
		return nil, err
	}
	b.Cleanup(p.Kill)
	return p, pin(p.PID(), serverCore)
}

// await waits for a line of output that starts with the text `begin`, searching from the line number `from` on, and
// returns the rest of that line.
func (p *process) await(from int, begin string) (rest string, err error) {
	err = p.log.Await(from, p.Done(), patience, func(l program.Line) (found bool) {
		rest, found = strings.CutPrefix(l.Text, begin)
		return found
	})
	if err != nil {
		err = fmt.Errorf("the server does not say %q: %w: %s", begin, err, p.log.Tail(3))
	}
	return rest, err
}

// request sends SIGUSR1, which makes the child print a line that starts with the text `begin`, and returns the rest of
// that line.
func (p *process) request(begin string) (rest string, err error) {
	from := p.log.Len()
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		return "", err
	}
	return p.await(from, begin)
}

// child returns a starter for a server of this test binary. The first line of the server's output starts with the
// prefix `first`.
func child(name, first string) starter {
	return func(b *testing.B, c choice) (*process, error) {
		c.Name = name
		p, err := launch(b, program.Command{Path: os.Args[0], Env: append(os.Environ(), childEnv+"="+c.String())})
		if err == nil {
			p.address, err = p.await(0, first)
		}
		return p, err
	}
}

// errMissing means that the machine lacks a server's program, so the table has no row for it.
var errMissing = errors.New("left out")

// node returns a starter for a script in the folder "node". The first line of the script's output starts with the
// prefix `first`.
func node(script, first string) starter {
	return func(b *testing.B, c choice) (*process, error) {
		if _, err := os.Stat("node/node_modules"); err != nil {
			return nil, fmt.Errorf("%w: npm has not installed its packages: %w", errMissing, err)
		}
		p, err := launch(b, program.Command{Path: "node", Args: []string{"node/" + script, strconv.Itoa(c.Count)}})
		if err == nil {
			p.address, err = p.await(0, first)
		}
		return p, err
	}
}

// refresher runs the service's release build, with a heartbeat that is longer than the measurement.
func refresher(b *testing.B, c choice) (*process, error) {
	address, ops := program.Address(b), program.Address(b)
	flags := []string{
		"serve", "--auth=none", "--listen=" + address, "--ops-listen=" + ops, "--heartbeat=10m", "--log-level=warn", "--drain-window=0s",
	}
	if c.Refuse {
		flags = append(flags, "--join-rate=0.001")
	}
	if c.Redis != "" {
		flags = append(flags, "--redis-url=redis://"+c.Redis)
	}
	p, err := launch(b, program.Command{
		Path: nodetest.Program(b), Args: flags, Dir: b.TempDir(),
		Env: []string{"AGORA_APP_ID=" + appID, "AGORA_APP_CERTIFICATE=" + certificate},
	})
	if err != nil {
		return nil, err
	}
	p.address, p.ops = address, ops
	for end := time.Now().Add(patience); !p.Ended() && time.Now().Before(end); pause(20 * time.Millisecond) {
		if _, err = get("http://" + ops + "/readyz"); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("refresher does not start: %w: %s", err, p.log.Tail(3))
}

// cpu returns the processor time of the process, in user and kernel mode, in nanoseconds.
func (p *process) cpu() time.Duration {
	var t unix.Timespec
	// This is the id of another process's CPU clock, as clock_getcpuclockid(3) computes it.
	const scheduled = 2
	if err := unix.ClockGettime(int32(^p.PID()<<3|scheduled), &t); err != nil {
		return 0 // the process has ended; the clients report a clearer error
	}
	return time.Duration(t.Nano())
}

// memory is the memory of a server, in bytes.
type memory struct {
	resident int64 // resident set
	used     int64 // heap and stacks in use after a garbage collection; 0 if the server is not a Go program
	kernel   int64 // slab memory of the kernel, for the whole machine
}

// memory reads the memory of the server. If `collect` is true, the server first collects its garbage and reports its
// heap and stacks.
func (p *process) memory(collect bool) (m memory, err error) {
	if m.resident, err = program.Resident(p.PID()); err != nil {
		return m, err
	}
	if m.kernel, err = program.Slab(); err != nil {
		return m, err
	}
	if !collect {
		return m, nil
	}
	if p.ops != "" {
		m.used, err = p.scrape()
		return m, err
	}
	text, err := p.request(memoryPrefix)
	if err != nil {
		return m, err
	}
	m.used, err = strconv.ParseInt(text, 10, 64)
	return m, err
}

// scrape makes refresher collect its garbage, and reads the bytes of its heap and stacks from its metrics.
func (p *process) scrape() (used int64, err error) {
	for range collections {
		if _, err := get("http://" + p.ops + "/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
	}
	text, err := get("http://" + p.ops + "/metrics")
	if err != nil {
		return 0, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes"} {
		for _, m := range families[name].GetMetric() {
			used += int64(m.GetGauge().GetValue())
		}
	}
	return used, nil
}

// profile records a CPU profile of refresher for a second, if -profiles names a folder. The channel receives a value
// when the profile is written.
func (p *process) profile(server string, o operation) <-chan error {
	done := make(chan error, 1)
	if p.ops == "" || *profiles == "" {
		done <- nil
		return done
	}
	go func() {
		text, err := get("http://" + p.ops + "/debug/pprof/profile?seconds=1")
		if err == nil {
			name := strings.NewReplacer(" ", "-", ",", "", "(µs)", "").Replace(server + "-" + string(o))
			err = os.WriteFile(filepath.Join(*profiles, name+".pprof"), []byte(text), 0o600)
		}
		done <- err
	}()
	return done
}

func get(url string) (string, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return string(text), err
}

// collections is how many garbage collections run before memory is read: each collection halves unused stacks.
const collections = 4

// used returns the bytes of heap and stacks of this process.
func used() int64 {
	for range collections {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// These are the cores of the clients and of the server. They are equal if there is only one core.
var clientCore, serverCore int

// choosePins assigns the last allowed core to this process and Redis, and the first to the servers.
func choosePins() error {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return err
	}
	serverCore = -1
	for core := range len(may) * 64 {
		if may.IsSet(core) {
			if clientCore = core; serverCore < 0 {
				serverCore = core
			}
		}
	}
	return pin(os.Getpid(), clientCore)
}

// pin restricts all threads of a process to one core. Threads that the process starts later inherit the restriction.
func pin(pid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	for range 2 { // the second pass catches threads that started during the first
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil {
			return err
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(filepath.Base(thread))
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("pin process %d to core %d: %w", pid, core, err)
			}
		}
	}
	return nil
}

// pause waits in real time: a measurement cannot use a simulated clock.
func pause(d time.Duration) { <-time.After(d) }

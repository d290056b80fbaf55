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

// process is a running server. If the machine has two cores or more, the server has one of them for itself.
type process struct {
	*program.Process
	log     *program.Journal
	address string // address of the server; if a child has none, the rest of its first line, such as a measured time
	ops     string // address of the operations port, which only refresher has
}

// starter starts a server, and returns when the server is ready.
type starter func(*testing.B, choice) (*process, error)

const (
	listening    = "listening on " // begins the first line of a child; its address follows
	memoryPrefix = "memory "       // begins the answer of a child to SIGUSR1; the bytes of its heap and stacks follow
)

// launch runs a program on the core for servers, until the measurement ends.
func launch(b *testing.B, c program.Command) (*process, error) {
	p := &process{log: new(program.Journal)}
	var err error
	if p.Process, err = program.Start(p.log, c); err != nil {
		return nil, err
	}
	b.Cleanup(p.Kill)
	return p, pin(p.PID(), serverCore)
}

// await waits for a line that begins with `begin`, from the line number `from` on, and returns the rest of that line.
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

// request sends SIGUSR1 to the server, waits for a line that begins with `begin`, and returns the rest of that line.
func (p *process) request(begin string) (rest string, err error) {
	from := p.log.Len()
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		return "", err
	}
	return p.await(from, begin)
}

// child returns a starter for a server that this test binary runs in a child process. The first line that the server
// prints begins with `first`.
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

// errMissing means that a program is not installed. The table then has no row for the server.
var errMissing = errors.New("left out")

// node returns a starter for a Node script in the folder "node". The first line that the script prints begins with
// `first`.
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

// refresher starts the service's release build. The heartbeat interval is longer than the measurement, so the node
// does not close connections whose clients send no pings.
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

// cpu returns the processor time of the process, in user and kernel mode.
func (p *process) cpu() time.Duration {
	var t unix.Timespec
	// The id of another process's clock is computed as in clock_getcpuclockid(3).
	const scheduled = 2
	if err := unix.ClockGettime(int32(^p.PID()<<3|scheduled), &t); err != nil {
		return 0 // if the process has ended, the clients report a clearer error
	}
	return time.Duration(t.Nano())
}

// memory is the memory of a server, in bytes.
type memory struct {
	resident int64 // resident set
	used     int64 // heap and stacks in use after a garbage collection; 0 if the server is not a Go program
	kernel   int64 // memory of kernel objects, of the whole machine
}

// memory reads the memory of the server. With `collect` the server first collects its garbage and reports the size of
// its heap and stacks.
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

// scrape makes refresher collect its garbage, and returns the bytes of heap and stacks in its metrics.
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

// profile records a CPU profile of refresher for a second, if -profiles is set. The channel receives the outcome when
// the profile is written.
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

// collections is how many garbage collections run before memory is read: each one halves stacks that are too large.
const collections = 4

// used returns the bytes of this process's heap and stacks.
func used() int64 {
	for range collections {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// clientCore is the core of the clients, and serverCore the core of the server. They are equal if the machine has only
// one core.
var clientCore, serverCore int

// choosePins gives the last allowed core to this process and Redis, and the first one to the servers.
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

// pin restricts a process to one core. Threads that the process starts later inherit this restriction.
func pin(pid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	for range 2 { // a thread may start during the first pass, so the second pass pins it
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

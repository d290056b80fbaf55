package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"refresher/test/nodetest"
	"refresher/test/program"
	"refresher/test/redistest"
	"refresher/tools/load/generator"
)

// loadEnv is an environment variable with which the test binary runs as the load command.
const loadEnv = "REFRESHER_TEST_LOAD"

// BenchmarkScale has these sizes. With the defaults, as in make bench, it is small.
var (
	scaleCalls = flag.Int("calls", 600, "BenchmarkScale: calls in all")
	scaleRate  = flag.Int("rate", 300, "BenchmarkScale: joins a second")
	scaleNodes = flag.Int("nodes", 3, "BenchmarkScale: nodes, the one that is killed included")
	scaleServe = flag.String("serve", "", "BenchmarkScale: flags of the nodes, such as --join-rate=300")
	scaleHold  = flag.Duration("hold", 3*time.Second, "BenchmarkScale: how long the calls are held before a node is killed")
)

// BenchmarkScale holds many calls with tokens of an hour on one machine: nodes with their default settings, a Redis,
// and generators. Then it kills a node, and waits until all calls of that node are connected to other nodes. It prints
// what each process used, and fails if a call lost its tokens or was refused. make bench-scale runs it with 100,000
// calls and six nodes.
func BenchmarkScale(b *testing.B) {
	for b.Loop() {
		s := scale{B: b, calls: *scaleCalls, joinRate: *scaleRate, nodes: *scaleNodes, hold: *scaleHold}
		s.run()
	}
}

type scale struct {
	*testing.B
	calls, joinRate, nodes int
	hold                   time.Duration

	fleet      nodetest.Fleet
	redis      *redistest.Server
	generators []*loader
	rows       []*row
	note       string // says whether the limits of the machine have changed the number of nodes
}

// killed is the number of the node that is killed.
const killed = 0

func (s *scale) run() {
	s.start()
	s.measure()
	joinTime := time.Duration(s.calls/s.joinRate) * time.Second
	complete := s.awaitAll(joinTime+2*time.Minute, s.calls/20)
	s.measure()
	before := s.reports()
	if complete {
		<-time.After(s.hold)
		before = s.reports()
		s.measure()
		s.fleet[killed].Kill()
		<-time.After(2 * time.Second) // by now each generator has reported the lost connections: it reports every second
		complete = s.awaitAll(2*time.Minute, s.calls/2)
	}
	for len(s.rows[killed].at) <= back {
		s.measure()
	}
	if s.print(before, s.reports()); !complete {
		s.Errorf("the calls were not all connected in time: does the machine bear them, with all else that it does?")
	}
}

// awaitAll waits until all calls are connected. It gives up if more connections were lost than those of the killed
// node: an overloaded service loses connections faster than it accepts them.
func (s *scale) awaitAll(patience time.Duration, mayLose int) bool {
	deadline := time.Now().Add(patience)
	for _, g := range s.generators {
		connected := false
		g.await(time.Until(deadline), func(r generator.Report) bool {
			connected = r.Connected == int64(g.calls)
			return connected || r.Lost > uint64(mayLose/len(s.generators))
		})
		if !connected {
			return false
		}
	}
	return true
}

func (s *scale) start() {
	files := openFiles(s.B)
	s.nodes, s.note = nodesFor(s.calls, s.nodes, files)
	s.redis = redistest.Start(s.B)
	s.fleet = nodetest.StartFleet(s.B, s.nodes, append(strings.Fields(*scaleServe), "--redis-url="+s.redis.URL())...)
	kernel := slab(s.B)
	urls := make([]string, len(s.fleet))
	for i, n := range s.fleet {
		urls[i] = "--url=ws://" + n.Addr() + "/v1/ws"
		s.rows = append(s.rows, &row{name: n.Name(), use: func() usage { return nodeUsage(n) }})
	}
	s.rows[killed].name += ", killed"
	const spare = 100 // file descriptors of a generator besides those of its calls
	processes := max(min(6, s.calls/100), s.calls/(files-spare)+1)
	for i := range processes {
		calls := s.calls*(i+1)/processes - s.calls*i/processes
		s.generators = append(s.generators, startLoader(s.B, calls, append(urls, "--json", "--duration=24h", "--ttl=1h",
			fmt.Sprintf("--calls=%d", calls), fmt.Sprintf("--channels=g%d-*", i),
			fmt.Sprintf("--join-rate=%f", float64(s.joinRate)/float64(processes)))))
	}
	s.rows = append(s.rows,
		&row{name: fmt.Sprintf("%d generators", processes), use: s.generatorUsage},
		&row{name: "Redis", use: func() usage { return usage{resident: s.redis.UsedMemory(), cpu: s.redis.CPU()} }},
		&row{name: "kernel: both ends of all connections", use: func() usage {
			return usage{resident: slab(s.B) - kernel}
		}})
}

// nodesFor returns the number of nodes, and a note if that is more than requested: when one node is killed, the others
// must have file descriptors for all calls.
func nodesFor(calls, nodes, files int) (int, string) {
	const reserve = 1024 // the largest number of file descriptors that a node does not use for clients
	asked, each := nodes, (files-reserve)*99/100
	for (nodes-1)*each < calls {
		nodes++
	}
	if nodes == asked {
		return nodes, ""
	}
	return nodes, fmt.Sprintf("%d nodes, since a process may have %d file descriptors here: %d nodes that are left of %d have room for %d calls.\n",
		nodes, files, asked-1, asked, (asked-1)*each)
}

// At these moments of a run every process is measured.
const (
	started = iota
	joined
	held
	back
)

// row is a line of the table, about a process or another part.
type row struct {
	name string
	use  func() usage
	at   []usage     // usage at each moment
	when []time.Time // time of each moment
}

// usage is what a process uses.
type usage struct {
	calls          int
	resident, heap int64 // in bytes; the heap includes the stacks
	cpu            time.Duration
}

func (s *scale) measure() {
	for _, r := range s.rows {
		r.at, r.when = append(r.at, r.use()), append(r.when, time.Now())
	}
}

func nodeUsage(n *nodetest.Node) usage {
	if n.Ended() {
		return usage{}
	}
	m := n.Metrics(`refresher_sessions{state="attached"}`, "process_resident_memory_bytes", "go_memstats_heap_inuse_bytes",
		"go_memstats_stack_inuse_bytes", "process_cpu_seconds_total")
	return usage{calls: int(m[0]), resident: int64(m[1]), heap: int64(m[2] + m[3]), cpu: time.Duration(m[4] * float64(time.Second))}
}

// loader is a process with a generator.
type loader struct {
	*testing.B
	calls   int
	log     program.Journal
	process *program.Process
}

func startLoader(b *testing.B, calls int, flags []string) *loader {
	b.Helper()
	l := &loader{B: b, calls: calls}
	var err error
	l.process, err = program.Start(&l.log, program.Command{Path: os.Args[0], Args: flags, Dir: b.TempDir(), Env: append(os.Environ(), loadEnv+"=1")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(l.process.Kill)
	return l
}

// report parses a line that the process prints every second.
func report(line program.Line) (r generator.Report) {
	_ = json.Unmarshal([]byte(line.Text), &r) // any other line gives a report without calls
	return r
}

// await waits for a new report of the process that fulfils a condition.
func (l *loader) await(patience time.Duration, so func(generator.Report) bool) {
	l.Helper()
	found := func(line program.Line) bool { return so(report(line)) }
	if err := l.log.Await(l.log.Len(), l.process.Done(), patience, found); errors.Is(err, program.ErrEnded) {
		l.Fatalf("a generator: %v\n%s", err, l.log.Tail(3))
	}
}

func (l *loader) usage() usage {
	l.Helper()
	cpu, err := program.CPU(l.process.PID())
	if err != nil {
		l.Fatal(err)
	}
	resident, err := program.Resident(l.process.PID())
	if err != nil {
		l.Fatal(err)
	}
	return usage{resident: resident, cpu: cpu}
}

func (s *scale) generatorUsage() (sum usage) {
	for i, r := range s.reports() {
		u := s.generators[i].usage()
		sum.calls += int(r.Connected)
		sum.resident += u.resident
		sum.cpu += u.cpu
	}
	return sum
}

func (s *scale) reports() (all []generator.Report) {
	for _, g := range s.generators {
		var r generator.Report
		if last := g.log.Tail(1); last != "" {
			r = report(program.Line{Text: last})
		}
		all = append(all, r)
	}
	return all
}

// print prints the result, and fails the benchmark if a call was lost.
func (s *scale) print(before, after []generator.Report) {
	var sum generator.Report
	var pings, resumes uint64
	for i, r := range after {
		pings += before[i].Pings
		resumes += r.Resumes - before[i].Resumes
		sum.Holding += r.Holding
		sum.RanOut += r.RanOut
		sum.LostSeconds += r.LostSeconds
		sum.SeqFell += r.SeqFell
		sum.Refused += r.Refused
		sum.Without += r.Without
		sum.Lost += r.Lost
		sum.Away.Most = max(sum.Away.Most, r.Away.Most)
		sum.Away.P50 = max(sum.Away.P50, r.Away.P50)
		if len(r.Errors) > 0 {
			fmt.Printf("generator %d: %s %s\n", i, errorsByName(r), r.Dial)
		}
	}
	fmt.Printf("\n%s%d calls joined %d nodes at %d a second and were held for %s, with %d heartbeats until then. Node %d was killed with %d calls: "+
		"half of them were back after %.1f s, all after %.1f s, %.0f a second; %d connections lost, %d resumes. "+
		"Tokens ran out %d times, for %.1f call-seconds; %d calls refused, %d without tokens.\n\n",
		s.note, s.calls, s.nodes, s.joinRate, s.hold, pings, killed, s.rows[killed].at[held].calls,
		sum.Away.P50, sum.Away.Most, float64(resumes)/math.Max(sum.Away.Most, 0.001), sum.Lost, resumes,
		sum.RanOut, sum.LostSeconds, sum.Refused, sum.Without)
	s.table()
	s.ReportMetric(sum.Away.Most, "s-all-back")
	s.ReportMetric(sum.LostSeconds, "call-s-lost")
	if sum.RanOut+sum.SeqFell+sum.Refused > 0 || sum.Without > 0 || sum.Holding != s.calls || resumes == 0 {
		s.Errorf("calls were lost: %+v", sum)
	}
}

// table prints a line for each process, and what one call needs in the nodes, in Redis and in the kernel.
func (s *scale) table() {
	fmt.Println("| | calls | resident | heap and stacks | CPU: joins | held | storm | calls afterwards | resident |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, r := range s.rows {
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.name, count(r.at[held].calls),
			megabytes(r.at[held].resident), megabytes(r.at[held].heap), r.spent(joined), r.rate(), r.spent(back),
			count(r.at[back].calls), megabytes(r.at[back].resident))
	}
	var nodes usage
	for _, r := range s.rows[:s.nodes] {
		nodes.resident += r.at[held].resident - r.at[started].resident
		nodes.heap += r.at[held].heap - r.at[started].heap
		nodes.cpu += r.at[joined].cpu - r.at[started].cpu
	}
	calls, redis, kernel := float64(s.calls), s.rows[len(s.rows)-2], s.rows[len(s.rows)-1]
	fmt.Printf("\nA call takes %.0f B of resident memory in its node, and %.0f B of them are heap and stacks. It takes %.0f B in Redis, and %.0f B in the kernel for each end of its connection. Its join took %.0f µs of processor time in the node and %.0f µs in Redis.\n\n",
		float64(nodes.resident)/calls, float64(nodes.heap)/calls, float64(redis.at[held].resident-redis.at[started].resident)/calls,
		float64(kernel.at[held].resident)/2/calls, nodes.cpu.Seconds()*1e6/calls, (redis.at[joined].cpu-redis.at[started].cpu).Seconds()*1e6/calls)
}

// spent returns the processor time that was used between the measurement before `to` and the measurement `to`.
func (r *row) spent(to int) string {
	if r.at[to].cpu == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f s", (r.at[to].cpu - r.at[to-1].cpu).Seconds())
}

// rate returns the processor time in a second while the calls were held.
func (r *row) rate() string {
	if r.at[held].cpu == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f ms/s", 1000*(r.at[held].cpu-r.at[joined].cpu).Seconds()/r.when[held].Sub(r.when[joined]).Seconds())
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func megabytes(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
}

func openFiles(b *testing.B) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	return int(min(limit.Cur, math.MaxInt32))
}

// slab returns the memory of kernel objects, such as sockets, of the whole machine.
func slab(b *testing.B) int64 {
	b.Helper()
	bytes, err := program.Slab()
	if err != nil {
		b.Fatal(err)
	}
	return bytes
}

//go:build linux

package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// operation is a measured operation, with its unit. A time is processor time of the server's process, with the kernel's
// part. "Busy" means that 64 clients at a time keep the server busy, "paced" that a client comes every millisecond.
type operation string

const (
	refusalBusy     operation = "refusal, busy (µs)"
	refusalPaced    operation = "refusal, paced (µs)"
	connectionBusy  operation = "connection with its first answer, busy (µs)"
	connectionPaced operation = "connection with its first answer, paced (µs)"
	backBusy        operation = "client that comes back, busy (µs)"
	backPaced       operation = "client that comes back, paced (µs)"
	heartbeatBusy   operation = "heartbeat, busy (µs)"
	heartbeatPaced  operation = "heartbeat, paced (µs)"
	askedBusy       operation = "renewal asked for, busy (µs)"
	askedPaced      operation = "renewal asked for, paced (µs)"
	scheduleCost    operation = "renewal by schedule (µs)"
	scheduleRate    operation = "renewals by schedule (a second)"
	lagMedian       operation = "renewal by schedule: late, median (ms)"
	lagP99          operation = "renewal by schedule: late, 99 % (ms)"
	lagP999         operation = "renewal by schedule: late, 99.9 % (ms)"
	memoryUsed      operation = "heap and stacks of a connection, after all of that (bytes)"
	memoryJoined    operation = "resident memory of a connection, when all have had their first answer (bytes)"
	memoryResident  operation = "resident memory of a connection, after all of that (bytes)"
	memoryKernel    operation = "kernel's memory of a connection (bytes)"
	idleNode        operation = "5,000 connections, all idle (ms a second)"
	requestBusy     operation = "request of a classic token server, busy (µs)"
	mintPair        operation = "RTC and RTM token, minted alone (µs)"
)

// redis returns the name of the table row with the time that Redis's main thread needs for the operation.
func (o operation) redis() operation { return "Redis: " + o }

// operations are in the order of the table.
var operations = []operation{
	refusalBusy, refusalPaced, connectionBusy, connectionPaced, backBusy, backPaced,
	heartbeatBusy, heartbeatPaced, askedBusy, askedPaced, scheduleCost, scheduleRate, lagMedian, lagP99, lagP999,
	scheduleCost.redis(), connectionPaced.redis(), backPaced.redis(),
	memoryUsed, memoryJoined, memoryResident, memoryKernel, idleNode, requestBusy, mintPair,
}

// goal is the highest acceptable figure of an operation. It has two limits: an amount, for the machine on which the
// goals were set, and a multiple of the figure of another server in the same run, for any machine.
type goal struct {
	operation operation
	servers   string // servers that have this goal
	most      float64
	times     float64
	of        string    // server to compare with
	than      operation // operation of that server to compare with; empty: the same operation
}

// With paced clients, the control server needed these times for a connection and for a ping with its pong, on the
// machine on which the goals were set.
const (
	controlConnection = 86.0 // µs
	controlExchange   = 25.0
)

const both = "refresher refresher-redis"

var goals = []goal{
	{refusalPaced, "refresher", 200, 200 / controlConnection, "control", ""},
	{connectionPaced, both, 290, 290 / controlConnection, "control", ""},
	{backPaced, both, 300, 300 / controlConnection, "control", ""},
	{heartbeatPaced, both, 35, 35 / controlExchange, "control", ""},
	{askedBusy, both, 0, 0.75, "centrifuge-tuned", ""},
	{scheduleCost, "refresher-redis", 125, 125 / controlExchange, "control", heartbeatPaced},
	{scheduleCost.redis(), "refresher-redis", 8, 0, "", ""},
	{memoryUsed, both, 6000, 0, "", ""},
	{memoryJoined, both, 9000, 0, "", ""},
	{idleNode, "refresher", 4, 0, "", ""},
}

type table struct {
	values   map[operation]map[string][]float64 // keyed by the server's name
	failures []string
}

func newTable() *table { return &table{values: make(map[operation]map[string][]float64)} }

func (t *table) record(o operation, s server, value float64) {
	if t.values[o] == nil {
		t.values[o] = make(map[string][]float64)
	}
	t.values[o][s.name] = append(t.values[o][s.name], value)
}

func (t *table) failed(s server, measure string, err error) {
	line := fmt.Sprintf("%s: %s: %v", s.title, measure, err)
	if !slices.Contains(t.failures, line) {
		t.failures = append(t.failures, line)
	}
}

func (t *table) median(o operation, name string) float64 {
	values := slices.Sorted(slices.Values(t.values[o][name]))
	if len(values) == 0 {
		return math.NaN()
	}
	return (values[len(values)/2] + values[(len(values)-1)/2]) / 2
}

func (t *table) String() string {
	var b strings.Builder
	b.WriteString(machine())
	b.WriteString("\n| | server | median | least to most | × control | goal |\n|---|---|---|---|---|---|\n")
	for _, o := range operations {
		title := string(o)
		for _, s := range servers {
			values := t.values[o][s.name]
			if len(values) == 0 {
				continue
			}
			ratio := ""
			if r := t.median(o, s.name) / t.median(o, "control"); strings.HasSuffix(string(o), "(µs)") && !math.IsNaN(r) {
				ratio = fmt.Sprintf("%.2f", r)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s to %s | %s | %s |\n", title, s.title, short(t.median(o, s.name)),
				short(slices.Min(values)), short(slices.Max(values)), ratio, t.verdict(o, s.name))
			title = ""
		}
	}
	for _, f := range t.failures {
		b.WriteString("\nLeft out: " + strings.Join(strings.Fields(f), " ") + "\n")
	}
	return b.String()
}

// verdict returns the goals of a server for an operation, and says whether they were met.
func (t *table) verdict(o operation, name string) string {
	var parts []string
	for _, g := range goals {
		if g.operation != o || !slices.Contains(strings.Fields(g.servers), name) {
			continue
		}
		have := t.median(o, name)
		if g.most != 0 {
			parts = append(parts, fmt.Sprintf("≤ %s: %s", short(g.most), met(have <= g.most)))
		}
		other, of := o, g.of
		if g.than != "" {
			other, of = g.than, g.of+"'s heartbeat"
		}
		if base := t.median(other, g.of); g.times != 0 && !math.IsNaN(base) {
			parts = append(parts, fmt.Sprintf("≤ %.2f × %s: %s", g.times, of, met(have <= g.times*base)))
		}
	}
	return strings.Join(parts, "; ")
}

func met(yes bool) string {
	if yes {
		return "met"
	}
	return "**missed**"
}

// short formats a number with three digits, or with all digits before the decimal point if there are more.
func short(n float64) string {
	digits := 2
	if n != 0 {
		digits = min(2, max(0, 2-int(math.Floor(math.Log10(math.Abs(n))))))
	}
	return fmt.Sprintf("%.*f", digits, n)
}

// machine describes the machine of the measurement.
func machine() string {
	model := "an unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		lines := bufio.NewScanner(bytes.NewReader(info))
		for lines.Scan() {
			if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	var u syscall.Utsname
	_ = syscall.Uname(&u) // if Uname fails, the kernel's release stays empty
	var release strings.Builder
	for _, c := range u.Release {
		if c == 0 || c == '-' {
			break
		}
		release.WriteByte(byte(c))
	}
	return fmt.Sprintf("%d round(s); server on core %d, clients and Redis on core %d, of %s; Linux %s, %s.\n",
		*rounds, serverCore, clientCore, model, release.String(), runtime.Version())
}

// The table in a document is between these marks.
const (
	tableBegin = "<!-- begin: make bench-peers -->\n"
	tableEnd   = "<!-- end -->"
)

// publish prints the table, and writes it into a document if one is named.
func (t *table) publish(file string) error {
	fmt.Printf("\n%s\n", t)
	if file == "" {
		return nil
	}
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(document), tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !found || !ends {
		return fmt.Errorf("%s has no %q with a %q after it", file, tableBegin, tableEnd)
	}
	return os.WriteFile(file, []byte(before+tableBegin+"\n"+t.String()+"\n"+tableEnd+after), 0o644)
}

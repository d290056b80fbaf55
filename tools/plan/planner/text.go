package planner

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Text returns the plan as a table.
func (out *Plan) Text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	n, r, s := &out.Nodes, &out.Redis, &out.Storm
	line("calls", "%s, renewed %s before the end and up to %s earlier", Number(float64(out.Sessions)), span(out.HeadStart), span(out.Jitter))
	line("renewals", "%s/s; %s/s if all calls begin in one minute; %s/s one lifetime after the storm", Number(out.Renewals), Number(out.Peak), Number(out.Echo))
	line("joins, heartbeats", "%s/s, %s/s", Number(out.Joins), Number(out.Heartbeats))
	line("detached", "%s besides: sessions that nobody left, whose tokens live on", Number(out.Detached))
	line("nodes", "%d: %d needed for the %s, and %d in reserve", n.Count, n.Needed, n.Bound, n.Count-n.Needed)
	line("  each", "%s calls, %s, %s cores busy; %s file descriptors", Number(float64(n.Sessions)), Bytes(n.Memory), Number(n.Cores), Number(float64(n.Files)))
	line("  all", "%s, %s cores busy", Bytes(n.AllMemory), Number(n.AllCores))
	line("Redis", "%s, with a replica each; %s, %s writes/s", count(r.Masters, "master"), Bytes(r.Memory), Number(r.Writes))
	line("  cores busy", "%s, of which %s by the nodes' leases; %s in the storm", Number(r.Cores), Number(r.Sweeps), Number(r.Storm))
	line("  network", "%s in, %s out", Bits(r.In), Bits(r.Out))
	line("network", "%s in, %s out; %s in the storm", Bits(out.Network.In), Bits(out.Network.Out), Bits(out.Network.Storm))
	line("proxy", "%s file descriptors, %s conntrack entries (%s), %s to each node", Number(float64(out.Proxy.Files)), Number(float64(out.Proxy.Conntrack)), Bytes(out.Proxy.Memory), count(int(out.Proxy.Addresses), "source address"))
	for _, x := range []struct {
		name string
		s    *Storm
	}{{"storm", s}, {"a node dies", &out.NodeFailure}} {
		line(x.name, "%s clients come back to %s in %s, at %s/s; least life left %s", Number(float64(x.s.Clients)), count(x.s.Nodes, "node"), span(x.s.Seconds), Number(x.s.Rate), span(x.s.Least))
	}
	if x := out.Rehearsal; x != nil {
		line("simulated", "%s calls on %s, of which %s come back at once", Number(float64(x.Calls)), count(x.Nodes, "node"), Number(float64(x.Clients)))
		line("  all are back", "after %s, by the formula %s; least life left %s, at least %s", span(x.Seconds.Simulated), span(x.Seconds.Formula), span(x.Least.Simulated), span(x.Least.Formula))
		line("  refusals", "%.1f of each client, by the formula %.1f", x.Refusals.Simulated, x.Refusals.Formula)
		line("  renewals", "%s/s one lifetime later, by the formula %s/s at most", Number(x.Echo.Simulated), Number(x.Echo.Formula))
	}
	set := &out.Settings
	line("settings", "%s", set.text())
	line("cells", "%d", out.Cells)
	_ = w.Flush() // into memory
	if x := out.Rehearsal; x != nil && x.RanOut+x.Away > 0 {
		fmt.Fprintf(&b, "! in the simulation %d of %d calls lost their tokens, and %d were not back in time\n", x.RanOut, x.Clients, x.Away)
	}
	for _, warning := range out.Warnings {
		fmt.Fprintf(&b, "! %s\n", warning)
	}
	return b.String()
}

// text returns the settings as flags: those that the plan recommends, and those of the input that differ from the
// defaults of serve.
func (s *Setting) text() string {
	seconds := func(x float64) time.Duration { return time.Duration(x * float64(time.Second)) }
	flags := fmt.Sprintf("--token-ttl=%s --join-rate=%s --max-sessions=%d --drain-window=%.0fs", span(s.TokenTTL), rate(s.JoinRate), s.MaxSessions, math.Ceil(s.DrainWindow))
	if h := seconds(s.Heartbeat); h != defaultHeartbeat {
		flags += " --heartbeat=" + h.String()
	}
	if s.RenewBefore != 0 {
		flags += " --renew-before=" + seconds(s.RenewBefore).String()
	}
	return fmt.Sprintf("%s GOMEMLIMIT=%.0fMiB", flags, math.Floor(s.MemoryLimit/(1<<20)))
}

// rate formats a --join-rate without rounding, since a rate below 1 would become 0.
func rate(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// count returns a number and the name of the counted things, in the singular or the plural.
func count(n int, thing string) string {
	switch {
	case n == 1:
		return "1 " + thing
	case strings.HasSuffix(thing, "s"):
		return fmt.Sprintf("%d %ses", n, thing)
	default:
		return fmt.Sprintf("%d %ss", n, thing)
	}
}

// Number formats x with about three digits and the suffix k, M or G.
func Number(x float64) string { return scaled(x, 1000, []string{"", "k", "M", "G", "T"}) }

// Bytes formats a size, in powers of 1000.
func Bytes(x float64) string {
	return scaled(x, 1000, []string{" B", " kB", " MB", " GB", " TB", " PB"})
}

// Bits formats a transfer rate.
func Bits(x float64) string {
	return scaled(x, 1000, []string{" bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s"})
}

func scaled(x, base float64, units []string) string {
	i := 0
	for i < len(units)-1 && x >= 0.9995*base {
		x /= base
		i++
	}
	switch {
	case x >= 99.95 || x == math.Trunc(x):
		return fmt.Sprintf("%.0f%s", x, units[i])
	case x >= 9.95:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0") + units[i]
	default:
		return fmt.Sprintf("%.2g%s", x, units[i])
	}
}

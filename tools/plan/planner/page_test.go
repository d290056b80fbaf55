package planner

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test -run ^TestScalingPage$ . -update

var update = flag.Bool("update", false, "write what is computed into docs/operate/scaling.md")

const page = "../../../docs/operate/scaling.md"

// TestScalingPage computes the generated parts of docs/operate/scaling.md, and compares them with the page. go generate
// writes them.
func TestScalingPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]func(*testing.T) string{
		"sizes": sizes, "plan": example, "costs": costs, "storms": storms, "waves": waves, "real": realRuns,
	}
	mark := regexp.MustCompile(`(?s)(<!-- begin: (\w+), go generate \./tools/plan/planner -->\n)(.*?)(<!-- end -->)`)
	seen := 0
	want := mark.ReplaceAllStringFunc(string(text), func(found string) string {
		m := mark.FindStringSubmatch(found)
		part, known := parts[m[2]]
		if !known {
			t.Errorf("no part is called %q", m[2])
			return found
		}
		seen++
		return m[1] + "\n" + part(t) + "\n" + m[4]
	})
	if seen != len(parts) {
		t.Errorf("%d parts on the page, want %d", seen, len(parts))
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("go generate ./tools/plan/planner would change docs/operate/scaling.md (-after +now):\n%s", diff)
	}
}

func row(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func table(head ...string) *strings.Builder {
	var b strings.Builder
	row(&b, head...)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	return &b
}

func sizes(t *testing.T) string {
	var plans []Plan
	head := []string{""}
	for _, n := range []int64{10_000, 1_000_000, 100_000_000} {
		plans = append(plans, made(t, usual(n)))
		head = append(head, Number(float64(n))+" calls")
	}
	b := table(head...)
	line := func(name string, cell func(p *Plan) string) {
		cells := []string{name}
		for i := range plans {
			cells = append(cells, cell(&plans[i]))
		}
		row(b, cells...)
	}
	line("renewals a second", func(p *Plan) string { return Number(p.Renewals) })
	line("the same, if all calls began in one minute", func(p *Plan) string { return Number(p.Peak) })
	line("joins a second; heartbeats a second", func(p *Plan) string { return Number(p.Joins) + "; " + Number(p.Heartbeats) })
	line("sessions besides, whose client went without `leave`", func(p *Plan) string { return Number(p.Detached) })
	line("nodes of 4 cores and 8 GiB, a third of them in reserve", func(p *Plan) string { return fmt.Sprint(p.Nodes.Count) })
	line("what sets that number", func(p *Plan) string { return p.Nodes.Bound })
	line("cores busy in all", func(p *Plan) string { return Number(p.Nodes.AllCores) })
	line("memory in all, with the kernel's", func(p *Plan) string { return Bytes(p.Nodes.AllMemory) })
	line("Redis masters, if it is one service", func(p *Plan) string { return fmt.Sprint(p.Redis.Masters) })
	line("Redis memory; writes a second", func(p *Plan) string { return Bytes(p.Redis.Memory) + "; " + Number(p.Redis.Writes) })
	line("Redis cores busy; in the storm", func(p *Plan) string { return Number(p.Redis.Cores) + "; " + Number(p.Redis.Storm) })
	line("of them by the nodes' leases", func(p *Plan) string { return Number(p.Redis.Sweeps) })
	line("Redis network, in and out", func(p *Plan) string { return Bits(p.Redis.In) + ", " + Bits(p.Redis.Out) })
	line("clients' network, in and out, with TLS", func(p *Plan) string { return Bits(p.Network.In) + ", " + Bits(p.Network.Out) })
	line("`--max-sessions` of each node", func(p *Plan) string { return fmt.Sprint(p.Settings.MaxSessions) })
	line("`--join-rate` of each node", func(p *Plan) string { return fmt.Sprintf("%.0f", p.Settings.JoinRate) })
	line("all clients come back at once: all are back after", func(p *Plan) string { return span(p.Storm.Seconds).String() })
	line("least life left in that", func(p *Plan) string { return span(p.Storm.Least).String() })
	line("network in that", func(p *Plan) string { return Bits(p.Network.Storm) })
	line("a node dies: its clients are back after", func(p *Plan) string { return span(p.NodeFailure.Seconds).String() })
	line("cells it is best split into", func(p *Plan) string { return fmt.Sprint(p.Cells) })
	return b.String()
}

func example(t *testing.T) string {
	p := made(t, usual(1_000_000))
	return "```\n$ go run ./tools/plan --sessions 1000000\n" + p.Text() + "```\n"
}

func costs(*testing.T) string {
	const load, redis = "`Peers/1/refresher$`", "`Peers/1/refresher-redis`"
	b := table("", "node alone", "with Redis", "Redis's main thread", "measured by `-bench`")
	us := func(x float64) string { return fmt.Sprintf("%.0f µs", x) }
	row(b, "a join: TCP, handshake, two tokens, ack", us(nodeJoinMicros), us(sharedJoinMicros), us(redisJoinMicros), load+", "+redis)
	row(b, "a resume", us(nodeResumeMicros), us(sharedResumeMicros), us(redisResumeMicros), "the same")
	row(b, "a refusal by `--join-rate`", us(nodeRefusalMicros), "", "0", load)
	row(b, "a renewal by schedule: two tokens, push, ack", us(nodeRenewalMicros), us(sharedRenewalMicros), us(redisRenewalMicros), load+", "+redis)
	row(b, "a heartbeat", us(nodeHeartbeatMicros), "", "0", load)
	row(b, "a node, for each second that it runs", "", us(nodeIdleMicros), us(redisIdleMicros), redis)
	bytes := table("bytes", "received", "sent", "measured by `-bench`")
	no := func(x float64) string { return Number(x) }
	row(bytes, "a renewal", no(renewalInBytes), no(renewalOutBytes), load)
	row(bytes, "a heartbeat", no(heartbeatInBytes), no(heartbeatOutBytes), load)
	row(bytes, "a join, with its handshake", no(joinInBytes), no(joinOutBytes), load)
	row(bytes, "a resume, with its handshake", no(resumeInBytes), no(resumeOutBytes), load)
	row(bytes, "Redis, for a renewal", no(redisRenewalInBytes), no(redisRenewalOutBytes), redis)
	row(bytes, "Redis, for a resume", no(redisResumeInBytes), no(redisResumeOutBytes), redis)
	memory := table("memory of a call", "bytes", "measured by `-bench`")
	row(memory, "resident in the node", no(residentBytes), load)
	row(memory, "in the kernel, for the node's end of its connection", no(kernelBytes), load)
	row(memory, "of one whose client went without `leave`, in the node", no(detachedBytes), "`Detached`, in ./internal/scheduler")
	row(memory, "in Redis", no(redisSessionBytes), "`Renewal`, in ./internal/redis")
	return b.String() + "\n" + bytes.String() + "\n" + memory.String()
}

// storms returns a table of reconnect storms. In each of them ten thousand calls have tokens of an hour, on four nodes.
func storms(t *testing.T) string {
	b := table("what happens", "`--join-rate`", "all back after", "by the formula", "connections tried, for each call", "least life left", "calls that lost their tokens")
	for _, c := range []struct {
		name string
		Scenario
	}{
		{"one node of four dies", Scenario{JoinRate: 100, Lost: 1}},
		{"the same by power: clients see it by the missing pong, within 60 s", Scenario{JoinRate: 100, Lost: 1, Notice: 60 * time.Second}},
		{"all four restart, and are away for 20 s", Scenario{JoinRate: 50, Lost: 4, Back: 20 * time.Second}},
		{"the same", Scenario{JoinRate: 10, Lost: 4, Back: 20 * time.Second}},
		{"the same, with too low a rate", Scenario{JoinRate: 6, Lost: 4, Back: 20 * time.Second}},
	} {
		s := c.Scenario
		s.Seed, s.Sessions, s.Nodes, s.TTL = 7, 10_000, 4, time.Hour
		s.StartOver, s.Length, s.BreakAt = 55*time.Minute, 2*time.Hour, 90*time.Minute
		o := play(t, s)
		nodes := 4 - s.Lost
		if s.Back > 0 {
			nodes = 4
		}
		tries := 0
		for _, n := range o.Attempts {
			tries += n
		}
		p := planner{headStart: 300, jitter: 150, joinRate: s.JoinRate}
		f := p.storm(float64(o.Broken), nodes)
		want := max(f.Seconds+s.Back.Seconds(), s.Notice.Seconds())
		// The formula gives a lower bound for the least remaining lifetime: few calls are both the next to be renewed
		// and the last to reconnect.
		if d := o.BackAfter.Seconds() - want; o.Away > 0 || max(d, -d) > max(2, 0.05*want) || o.LeastLeft.Seconds() < p.headStart-want-2 {
			t.Errorf("%s: all back after %s with %s left, formula %.0f s; %d away", c.name, o.BackAfter, o.LeastLeft, want, o.Away)
		}
		if have := float64(o.Refused) / float64(o.Broken); s.Notice == 0 && (have > 1.1*f.Refusals || have < 0.6*f.Refusals) {
			t.Errorf("%s: %.2f refusals for each client, formula %.2f", c.name, have, f.Refusals)
		}
		seconds := func(x float64) string { return fmt.Sprintf("%.0f s", x) }
		row(
			b, c.name, fmt.Sprint(s.JoinRate), seconds(o.BackAfter.Seconds()), seconds(want),
			fmt.Sprintf("%.1f", float64(tries)/float64(o.Broken)), seconds(o.LeastLeft.Seconds()), fmt.Sprint(o.RanOut),
		)
	}
	return b.String()
}

// waves returns a table of renewals. Ten thousand calls with tokens of an hour begin in one minute.
func waves(t *testing.T) string {
	o := play(t, Scenario{Seed: 7, Sessions: 10_000, Nodes: 1, TTL: time.Hour, StartOver: time.Minute, Length: 12 * time.Hour})
	mean := o.Mean(time.Hour, 12*time.Hour)
	b := table("", "1st wave", "2nd", "4th", "8th", "mean")
	cells := []string{"most renewals in one second"}
	for _, wave := range []int{1, 2, 4, 8} {
		// The n-th renewal of each call comes n intervals after its join. An interval is 52.5 to 55 minutes.
		seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
		peak := o.Peak(seconds(wave*3148), seconds(wave*3301+60))
		cells = append(cells, fmt.Sprintf("%d (%.0f times the mean)", peak, float64(peak)/mean))
	}
	row(b, append(cells, fmt.Sprintf("%.1f", mean))...)
	return b.String()
}

// realRuns returns a table of measurements with three nodes, a Redis and tools/load, beside the figures of the formula
// and of the simulation.
func realRuns(t *testing.T) string {
	b := table("", "measured", "simulated", "by the formula")
	for _, c := range []struct {
		name                         string
		lost                         int
		back, oneByOne               time.Duration
		after, half, least, refusals float64 // measured values; all but the refusals in seconds
	}{
		{name: "one of three nodes killed", lost: 1, after: 9.1, half: 4.1, least: 24.1, refusals: 0.89},
		{name: "all three killed, started again after 10 s, and found by the HAProxy after 12", lost: 3, back: 12 * time.Second, oneByOne: 700 * time.Millisecond, after: 37.9, half: 22.3, least: 5.5, refusals: 0.64},
	} {
		s := Scenario{
			Seed: 7, Sessions: 3000, Nodes: 3, TTL: time.Minute, StartOver: 30 * time.Second, Length: 170 * time.Second,
			JoinRate: 50, BreakAt: 100 * time.Second, Lost: c.lost, Back: c.back, OneByOne: c.oneByOne,
		}
		o := play(t, s)
		nodes := 3 - c.lost
		if c.back > 0 {
			nodes = 3
		}
		p := planner{headStart: 30, jitter: 15, joinRate: s.JoinRate}
		f := p.storm(float64(o.Broken), nodes)
		seconds := func(x float64) string { return fmt.Sprintf("%.1f s", x) }
		all := f.Seconds + c.back.Seconds()
		row(b, c.name+": all back after", seconds(c.after), seconds(o.BackAfter.Seconds()), seconds(all))
		row(b, "half of them", seconds(c.half), seconds(o.HalfAfter.Seconds()), "")
		row(b, "least life left on return", seconds(c.least), seconds(o.LeastLeft.Seconds()), "at least "+seconds(p.headStart-all))
		row(b, "refusals of each client", fmt.Sprintf("%.2f", c.refusals), fmt.Sprintf("%.2f", float64(o.Refused)/float64(o.Broken)), fmt.Sprintf("%.2f", f.Refusals))
		if d := c.after - o.BackAfter.Seconds(); max(d, -d) > 0.1*o.BackAfter.Seconds()+1 {
			t.Errorf("%s: all back after %.1f s, simulated %.1f s", c.name, c.after, o.BackAfter.Seconds())
		}
	}
	return b.String()
}

package planner

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

// usual is the input without any flag but --sessions.
func usual(sessions int64) Input {
	return Input{
		Sessions: sessions, TTL: time.Hour, Heartbeat: 50 * time.Second, CallLength: time.Hour, WithoutLeave: 0.25, DrainWindow: 20 * time.Second,
		Services: []string{"rtc", "rtm"}, NodeMemory: 8 << 30, NodeCores: 4, StormShare: 1,
	}
}

func made(t *testing.T, in Input) Plan {
	t.Helper()
	p, err := Make(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWrongInputsNameThemselves(t *testing.T) {
	for want, change := range map[string]func(*Input){
		"sessions: want 1":            func(in *Input) { in.Sessions = 0 },
		"sessions: ":                  func(in *Input) { in.Sessions = 2e9 },
		"ttl: ":                       func(in *Input) { in.TTL = 25 * time.Hour },
		"renew-before: ":              func(in *Input) { in.RenewBefore = -1 },
		"heartbeat: ":                 func(in *Input) { in.Heartbeat = time.Millisecond },
		"call-length: ":               func(in *Input) { in.CallLength = 0 },
		"without-leave: ":             func(in *Input) { in.WithoutLeave = math.NaN() },
		"drain-window: ":              func(in *Input) { in.DrainWindow = -1 },
		"node-memory: ":               func(in *Input) { in.NodeMemory = 1 << 20 },
		"node-cores: ":                func(in *Input) { in.NodeCores = math.NaN() },
		"renew-before: w":             func(in *Input) { in.RenewBefore = 1500 * time.Millisecond },
		"redis-masters: ":             func(in *Input) { in.RedisMasters = 65 },
		"storm: ":                     func(in *Input) { in.StormShare = 1.5 },
		"join-rate: ":                 func(in *Input) { in.JoinRate = -1 },
		"join-rate: want":             func(in *Input) { in.JoinRate = 1e-300 },
		"more than 100000":            func(in *Input) { in.Sessions, in.JoinRate = maxSessions, 0.1 },
		"nodes: ":                     func(in *Input) { in.Nodes = -1 },
		"services: want at least one": func(in *Input) { in.Services = nil },
		"services: want e":            func(in *Input) { in.Services = []string{"rtc", "rtc"} },
	} {
		in := usual(1000)
		change(&in)
		if _, err := Make(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, have %v", want, err)
		}
	}
}

// At every size and for unusual machines, a plan has enough nodes for all calls, and no node needs more memory,
// processor time or file descriptors than it has.
func TestPlansKeepTheirBounds(t *testing.T) {
	for _, sessions := range []int64{1, 100, 10_000, 123_456, 1_000_000, 30_000_000, 100_000_000, maxSessions} {
		for _, cores := range []float64{0.5, 4, 64} {
			for _, memory := range []int64{1 << 30, 8 << 30, 256 << 30} {
				in := usual(sessions)
				in.NodeCores, in.NodeMemory = cores, memory
				p := made(t, in)
				n := p.Nodes
				switch {
				case int64(n.Count)*n.Sessions < sessions, n.Count < n.Needed+1, float64(n.Count) < float64(n.Needed)*4/3:
					t.Errorf("%d calls: %+v", sessions, n)
				case n.Memory > memoryShare*float64(memory), n.Cores > cpuShare*cores+nodeIdleMicros/1e6, n.Files <= n.SessionsWorn:
					t.Errorf("%d calls on %v cores with %d bytes: %+v", sessions, cores, memory, n)
				case p.Storm.Least < p.HeadStart*stormShare-1, p.Settings.JoinRate < 1, p.Settings.MaxSessions < n.Sessions:
					t.Errorf("%d calls on %v cores: storm %+v, %+v", sessions, cores, p.Storm, p.Settings)
				}
				if text, err := json.Marshal(p); err != nil || strings.Contains(string(text), "null") && len(p.Warnings) > 0 {
					t.Errorf("%s, %v", text, err)
				}
			}
		}
	}
}

func TestWarnings(t *testing.T) {
	for want, change := range map[string]func(*Input){
		"calls lose their tokens":   func(in *Input) { in.Nodes, in.JoinRate = 2, 10 },
		"down to":                   func(in *Input) { in.Nodes, in.JoinRate = 2, 18 },
		"more nodes, or memory":     func(in *Input) { in.Sessions, in.Nodes = 1_000_000, 2 },
		"in ordinary times":         func(in *Input) { in.Sessions, in.Nodes = 10_000_000, 1 },
		"meets nobody":              func(in *Input) { in.Nodes = 1 },
		"no longer than 10s":        func(in *Input) { in.Sessions, in.Nodes = 1_000_000, 2 },
		"has gone silent":           func(in *Input) { in.TTL = 5 * time.Second },
		"Redis masters are too fe":  func(in *Input) { in.Sessions, in.RedisMasters = 50_000_000, 1 },
		"64 shards can use":         func(in *Input) { in.Sessions = 900_000_000 },
		"split it into":             func(in *Input) { in.Sessions = 100_000_000 },
		"the leases of 29067 nodes": func(in *Input) { in.Sessions, in.RedisMasters, in.NodeCores = 1_000_000_000, 1, 1 },
		"ports to each node":        func(in *Input) { in.Sessions, in.NodeCores = 1_000_000, 32 },
		"Prometheus":                func(in *Input) { in.Sessions = 100_000_000 },
		"of its 4.0 cores, for":     func(in *Input) { in.Sessions, in.Nodes = 10_000_000, 5 },
		"pushes do not wait":        func(in *Input) { in.Sessions, in.RedisMasters = 100_000_000, 2 },
		"renewals come late":        func(in *Input) { in.JoinRate = 100_000 },
	} {
		in := usual(10_000)
		change(&in)
		if all := strings.Join(made(t, in).Warnings, "\n"); !strings.Contains(all, want) {
			t.Errorf("want a warning with %q, have %q", want, all)
		}
	}
	if all := made(t, usual(10_000)).Warnings; len(all) > 0 {
		t.Errorf("ten thousand calls: %q", all)
	}
}

// The heartbeat, and the time until a client notices that a node's machine has failed, follow the rules of the session.
func TestHeartbeatsFollowTheHeadStart(t *testing.T) {
	for _, c := range []struct {
		ttl, heartbeat    time.Duration
		perSecond, silent float64
	}{
		{time.Hour, 50 * time.Second, 200, 60},
		{time.Hour, 25 * time.Second, 400, 35},
		{10 * time.Minute, 50 * time.Second, 1000, 20},
		{30 * time.Second, 50 * time.Second, 5000, 6},
		{10 * time.Second, 50 * time.Second, 10_000, 3},
	} {
		in := usual(10_000)
		in.TTL, in.Heartbeat = c.ttl, c.heartbeat
		out := made(t, in)
		p := planner{in: in}
		if have := p.unnoticed(out.HeadStart); out.Heartbeats != c.perSecond || have != c.silent {
			t.Errorf("ttl %s, --heartbeat=%s: %v a second, silence is seen after %v s; want %v, %v", c.ttl, c.heartbeat, out.Heartbeats, have, c.perSecond, c.silent)
		}
	}
}

// With short calls and long tokens, more sessions wait without a client than there are calls. The recommended
// --max-sessions has room for them.
func TestSessionsThatNobodyLeft(t *testing.T) {
	in := usual(10_000)
	in.CallLength, in.WithoutLeave = 10*time.Minute, 0
	without := made(t, in)
	in.WithoutLeave = 0.5
	p := made(t, in)
	// 16.7 calls begin in a second, and half of them end without leave. Calls that began in the last hour still have
	// sessions.
	if p.Detached < 29_999 || p.Detached > 30_001 || without.Detached != 0 {
		t.Errorf("%v detached, %v without", p.Detached, without.Detached)
	}
	if room := float64(p.Settings.MaxSessions * int64(p.Nodes.Needed)); room < 1.1*40_000 || p.Redis.Memory < 3.99*without.Redis.Memory {
		t.Errorf("room for %v, %+v", room, p.Redis)
	}
	in.TTL = time.Minute // with tokens that live for less than the resume window, a session waits for the resume window
	if have := made(t, in).Detached; have < 999 || have > 1001 {
		t.Errorf("%v detached", have)
	}
}

// The settings of a plan include those of the input that differ from the service's defaults.
func TestSettingsAreThoseOfThePlan(t *testing.T) {
	in := usual(10_000)
	p := made(t, in)
	if text := p.Text(); strings.Contains(text, "--heartbeat=") || strings.Contains(text, "--renew-before=") {
		t.Error(text)
	}
	in.Nodes, in.JoinRate, in.Heartbeat, in.RenewBefore = 10, 0.3, 1500*time.Millisecond, 12*time.Minute
	p = made(t, in)
	text := p.Text()
	for _, want := range []string{" --join-rate=0.3 ", " --heartbeat=1.5s ", " --renew-before=12m0s "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}

// The recommended lifetime is the requested one if its head start (the time from a renewal until the old tokens expire)
// is long enough for a reconnect storm, and for clients to notice that a machine has failed.
func TestRecommendedLifetime(t *testing.T) {
	for _, c := range []struct {
		ttl  time.Duration
		want float64
	}{{time.Hour, 3600}, {time.Minute, 60}, {20 * time.Second, 20}, {5 * time.Second, 120}, {24 * time.Hour, 86_400}} {
		in := usual(10_000)
		in.TTL = c.ttl
		if have := made(t, in).Settings.TokenTTL; have != c.want {
			t.Errorf("ttl %s: %v s, want %v s", c.ttl, have, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for want, x := range map[string]float64{"0": 0, "0.0042": 0.00419, "3.1": 3.12, "12.3": 12.34, "999": 999.4, "1k": 999.7, "1.5M": 1.5e6, "100": 99.97} {
		if have := Number(x); have != want {
			t.Errorf("%v: %q, want %q", x, have, want)
		}
	}
	if have := Bytes(8.6e9) + Bits(1e6); have != "8.6 GB1 Mbit/s" {
		t.Error(have)
	}
}

package planner

import (
	"strings"
	"testing"
	"time"

	"refresher/internal/session"
)

// play simulates a scenario and fails the test on an error.
func play(t *testing.T, s Scenario) Outcome {
	t.Helper()
	o, err := Simulate(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The rates of renewals by the closed formula and by the sessions' own rules differ by less than 2%.
func TestRenewalRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ttl, before time.Duration }{{time.Hour, 0}, {10 * time.Minute, 0}, {time.Hour, 20 * time.Minute}, {20 * time.Second, 0}} {
		policy := session.Policy{RenewBefore: c.before}
		head := policy.HeadStart(c.ttl)
		o := play(t, Scenario{
			Seed: 1, Sessions: 4000, Nodes: 1, TTL: c.ttl, RenewBefore: c.before, StartOver: c.ttl - head, Length: 8 * c.ttl,
		})
		have, want := o.Mean(c.ttl, 8*c.ttl), 4000*renewalRate(c.ttl.Seconds(), head.Seconds())
		if have < want*0.98 || have > want*1.02 {
			t.Errorf("ttl %s, head start %s: %.3f renewals a second, formula %.3f", c.ttl, head, have, want)
		}
	}
}

// If all calls start within a minute, the simulated peak is at most the formula's, which has room for
// random variation, and at least 0.7 of it.
func TestCrestOfAMinute(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		o := play(t, Scenario{Seed: seed, Sessions: 20_000, Nodes: 1, TTL: time.Hour, StartOver: time.Minute, Length: 90 * time.Minute})
		have, want := float64(o.Peak(0, 90*time.Minute)), crest(20_000, 60, 150)
		if have > want || have < 0.7*want {
			t.Errorf("seed %d: peak %.0f, formula %.0f", seed, have, want)
		}
	}
}

// Storms by the formula and by simulation. The spans differ by less than 2 s or 5%.
// The least life that the formula gives is a bound: calls that are both the next to
// be renewed and the last to be back are few, so the simulated least life is longer, here by up to a third of the head
// start.
func TestStorms(t *testing.T) {
	t.Parallel()
	const sessions = 10_000
	for name, s := range map[string]Scenario{
		"one node of four dies":        {JoinRate: 100, Lost: 1},
		"the same, and nobody notices": {JoinRate: 100, Lost: 1, Notice: 35 * time.Second},
		"all clients at once":          {JoinRate: 50, Lost: 4, Back: time.Millisecond},
		"all nodes restart":            {JoinRate: 50, Lost: 4, Back: 20 * time.Second},
		"the same, at a slow rate":     {JoinRate: 10, Lost: 4, Back: 20 * time.Second},
		"too slow for the head start":  {JoinRate: 6, Lost: 4, Back: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.Seed, s.Sessions, s.Nodes, s.TTL = 7, sessions, 4, time.Hour
			s.StartOver, s.Length, s.BreakAt = 55*time.Minute, 3*time.Hour+30*time.Minute, 90*time.Minute
			o := play(t, s)
			p := planner{in: Input{Sessions: sessions}, headStart: 300, jitter: 150, joinRate: s.JoinRate}
			nodes := 4 - s.Lost
			if s.Back > 0 {
				nodes = 4
			}
			f := p.storm(float64(o.Broken), nodes)
			want := max(f.Seconds+s.Back.Seconds(), s.Notice.Seconds())
			have := o.BackAfter.Seconds()
			if d := have - want; o.Away > 0 || max(d, -d) > max(2, 0.05*want) {
				t.Errorf("all back after %.1f s, formula %.1f s; %d away", have, want, o.Away)
			}
			least := p.headStart - want
			tooSlow := name == "too slow for the head start" // the node admits urgent clients first
			if left := o.LeastLeft.Seconds(); left < least-2 || !tooSlow && left > least+p.headStart/3 {
				t.Errorf("least life left %.1f s, formula %.1f s", left, least)
			}
			if have := float64(o.Refused) / float64(o.Broken); s.Notice == 0 && (have > 1.1*f.Refusals || have < 0.6*f.Refusals) {
				t.Errorf("%.2f refusals for each client, formula %.2f", have, f.Refusals)
			}
			if lost := o.RanOut > 0; lost != tooSlow || o.RanOut > o.Broken/1000 {
				t.Errorf("%d ran out", o.RanOut)
			}
			// One lifetime later, the clients that came back are renewed together.
			echo := float64(o.Peak(s.BreakAt+2*time.Minute+o.BackAfter, s.Length))
			back := f.Seconds
			formula := crest(float64(o.Broken), back, p.jitter) + float64(sessions-o.Broken)*renewalRate(3600, 300)
			if echo > 1.1*formula || echo < 0.6*formula {
				t.Errorf("an echo of %.0f renewals a second, formula %.0f", echo, formula)
			}
		})
	}
}

func TestTheSameScenarioHasTheSameOutcome(t *testing.T) {
	s := Scenario{Seed: 3, Sessions: 500, Nodes: 3, TTL: time.Minute, StartOver: 20 * time.Second, Length: 5 * time.Minute, JoinRate: 5, BreakAt: 2 * time.Minute, Lost: 1}
	a, b := play(t, s), play(t, s)
	if a.BackAfter != b.BackAfter || a.Refused != b.Refused || a.LeastLeft != b.LeastLeft || a.Mean(0, s.Length) != b.Mean(0, s.Length) {
		t.Errorf("%+v, then %+v", a, b)
	}
	s.Seed++
	if c := play(t, s); c.BackAfter == a.BackAfter {
		t.Error("another seed, and the same outcome")
	}
}

func TestScenariosThatCannotBe(t *testing.T) {
	valid := Scenario{Sessions: 10, Nodes: 2, TTL: time.Minute, Length: time.Minute}
	for want, change := range map[string]func(*Scenario){
		"sessions: ": func(s *Scenario) { s.Sessions = 0 },
		"nodes: ":    func(s *Scenario) { s.Nodes = 11 },
		"ttl: ":      func(s *Scenario) { s.TTL = 1500 * time.Millisecond },
		"length: ":   func(s *Scenario) { s.StartOver = time.Hour },
		"lost: ":     func(s *Scenario) { s.Lost, s.BreakAt = 2, time.Second },
		"negative":   func(s *Scenario) { s.JoinRate = -1 },
	} {
		s := valid
		change(&s)
		if _, err := Simulate(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, have %v", want, err)
		}
	}
}

package planner

import (
	"strings"
	"testing"
	"time"
)

// The simulation agrees with the formulas, for many sizes and lifetimes.
func TestRehearsals(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Input){
		"many":              func(in *Input) { in.Sessions = 100_000_000 },
		"one node":          func(in *Input) { in.Nodes = 1 },
		"short tokens":      func(in *Input) { in.TTL = 20 * time.Second },
		"long tokens":       func(in *Input) { in.TTL = 24 * time.Hour },
		"a long head start": func(in *Input) { in.RenewBefore = 25 * time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := usual(4_000)
			change(&in)
			p := made(t, in)
			if err := p.Rehearse(in); err != nil {
				t.Fatal(err)
			}
			r := p.Rehearsal
			if d := r.Seconds.Simulated - r.Seconds.Formula; max(d, -d) > max(2, 0.05*r.Seconds.Formula) {
				t.Errorf("all back after %+v", r.Seconds)
			}
			if r.Calls < 1 || r.Calls > maxRehearsed || r.Clients < 1 || r.Away > 0 || r.RanOut > 0 || r.Least.Simulated < r.Least.Formula-2 || r.Echo.Simulated > max(1, 1.1*r.Echo.Formula) {
				t.Errorf("%+v", r)
			}
			if text := p.Text(); !strings.Contains(text, "simulated ") || strings.Contains(text, "in the simulation") {
				t.Error(text)
			}
		})
	}
}

// If a plan warns of a problem, the simulation shows the problem, too.
func TestARehearsalThatGoesWrong(t *testing.T) {
	t.Parallel()
	in := usual(10_000)
	in.Nodes, in.JoinRate = 2, 8
	p := made(t, in)
	if err := p.Rehearse(in); err != nil {
		t.Fatal(err)
	}
	if r := p.Rehearsal; r.RanOut == 0 || !strings.Contains(p.Text(), "! in the simulation ") {
		t.Errorf("%+v\n%s", r, p.Text())
	}
	in = usual(10_000_000)
	in.Nodes = 2
	p = made(t, in)
	if err := p.Rehearse(in); err == nil || p.Rehearsal != nil || !strings.Contains(err.Error(), "5000000 calls on 1 nodes") {
		t.Error(err)
	}
}

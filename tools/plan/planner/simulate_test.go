package planner

import (
	"strings"
	"testing"
	"time"

	"refresher/internal/session"
)

func play(t *testing.T, s Scenario) Outcome {
	t.Helper()
	o, err := Simulate(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// The closed formula and the session's own rules give rates of renewals that differ by less than 2%.
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

func TestScenariosThatCannotBe(t *testing.T) {
	valid := Scenario{Sessions: 10, Nodes: 2, TTL: time.Minute, Length: time.Minute}
	for want, change := range map[string]func(*Scenario){
		"sessions: ": func(s *Scenario) { s.Sessions = 0 },
		"nodes: ":    func(s *Scenario) { s.Nodes = 11 },
		"ttl: ":      func(s *Scenario) { s.TTL = 1500 * time.Millisecond },
		"length: ":   func(s *Scenario) { s.StartOver = time.Hour },
		"lost: ":     func(s *Scenario) { s.Lost, s.BreakAt = 2, time.Second },
		"0 or more":  func(s *Scenario) { s.JoinRate = -1 },
	} {
		s := valid
		change(&s)
		if _, err := Simulate(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, have %v", want, err)
		}
	}
}

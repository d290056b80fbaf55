package planner

import (
	"fmt"
	"time"

	"refresher/internal/session"
)

// Rehearsal compares the simulation of a plan's storm with the formulas, for the same calls. Each node has the load of
// the plan, but if there are too many calls to simulate, there are fewer nodes. Durations are in seconds.
type Rehearsal struct {
	Calls    int  `json:"calls"`
	Nodes    int  `json:"nodes"`
	Clients  int  `json:"clients"` // clients that reconnect at once
	RanOut   int  `json:"lost_their_tokens"`
	Away     int  `json:"not_back"` // clients that had not reconnected one lifetime later
	Seconds  Pair `json:"seconds"`
	Least    Pair `json:"least_life_seconds"`
	Refusals Pair `json:"refusals_each"`
	Echo     Pair `json:"renewals_per_second_after_storm"`
}

// Pair is one figure, once by the simulation and once by the formulas.
type Pair struct {
	Simulated float64 `json:"simulated"`
	Formula   float64 `json:"formula"`
}

// maxRehearsed is the most calls in a rehearsal with several nodes. Their simulation takes a few seconds.
const maxRehearsed = 200_000

// Rehearse simulates the storm of a plan for the input, and adds the results to the plan.
func (out *Plan) Rehearse(in Input) error {
	each := int(out.Nodes.Sessions)
	nodes := max(1, min(out.Nodes.Count, maxRehearsed/each))
	lost := max(1, ceil(in.StormShare*float64(nodes)))
	policy := session.Policy{RenewBefore: in.RenewBefore}
	headStart := policy.HeadStart(in.TTL)
	s := Scenario{
		Seed: 1, Sessions: each * nodes, Nodes: nodes, TTL: in.TTL, RenewBefore: in.RenewBefore, JoinRate: out.Settings.JoinRate,
		StartOver: in.TTL - headStart, BreakAt: in.TTL, Lost: lost, Back: time.Millisecond,
	}
	s.Length = min(maxSpan, s.BreakAt+in.TTL+2*span(out.Storm.Seconds)+time.Minute)
	o, err := Simulate(s)
	if err != nil {
		return fmt.Errorf("simulate the storm of %d calls on %d nodes: %w", s.Sessions, s.Nodes, err)
	}
	in.Sessions = int64(s.Sessions)
	p := planner{in: in, headStart: out.HeadStart, jitter: out.Jitter, joinRate: s.JoinRate}
	f := p.storm(float64(o.Broken), nodes)
	back := min(s.Length, s.BreakAt+o.BackAfter)
	out.Rehearsal = &Rehearsal{
		Calls: s.Sessions, Nodes: nodes, Clients: o.Broken, RanOut: o.RanOut, Away: o.Away,
		Seconds:  Pair{o.BackAfter.Seconds(), f.Seconds},
		Least:    Pair{o.LeastLeft.Seconds(), f.Least},
		Refusals: Pair{float64(o.Refused) / float64(o.Broken), f.Refusals},
		Echo: Pair{
			float64(o.Peak(back, min(s.Length, back+in.TTL-headStart+time.Second))), // the highest rate of the first renewals after the clients have reconnected
			crest(float64(o.Broken), f.Seconds, p.jitter) + float64(s.Sessions-o.Broken)*renewalRate(in.TTL.Seconds(), p.headStart),
		},
	}
	return nil
}

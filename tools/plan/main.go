// Command plan computes the resources of a service for a number of calls: nodes, memory, Redis and network. It also
// says how reconnect storms proceed. See go run ./tools/plan --help and docs/operate/scaling.md.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"refresher/tools/plan/planner"
)

type command struct {
	Sessions     int64         `required:"" help:"Calls that are open at the same time."`
	TTL          time.Duration `name:"ttl" default:"1h" help:"Lifetime of tokens."`
	RenewBefore  time.Duration `default:"0s" help:"Head start of renewals, as serve has it."`
	Heartbeat    time.Duration `default:"50s" help:"How often clients send a ping at least; those with short-lived tokens do so more often."`
	CallLength   time.Duration `default:"1h" help:"How long a call lasts on average."`
	WithoutLeave float64       `default:"0.25" help:"Share of the calls that end without leave, as by a closed tab, 0 to 1: their sessions stay until their tokens end, and count for --max-sessions."`
	DrainWindow  time.Duration `default:"20s" help:"As serve has it."`
	Services     []string      `default:"rtc,rtm" help:"rtc, rtm, chat: what each call has tokens for."`
	Nodes        int           `help:"How many nodes there are; 0 is as many as it takes."`
	NodeMemory   size          `default:"8GiB" help:"Memory of a node, such as 512MiB or 16GiB."`
	NodeCores    float64       `default:"4" help:"Cores of a node."`
	RedisMasters int           `name:"redis-masters" aliases:"redis-cores" help:"Redis servers that there may be, of one core each; 0 is as many as it takes."`
	Storm        float64       `default:"1" help:"Share of the clients that comes back at once, 0 to 1."`
	JoinRate     float64       `help:"Each node's --join-rate; 0 is what its cores bear."`
	Simulate     bool          `help:"Play the storm too, call by call, and say how far that is from the formulas."`
	JSON         bool          `name:"json" help:"Print JSON."`
}

func main() {
	var c command
	parsed := kong.Parse(&c, kong.Name("plan"), kong.Description("Computes what so many calls need: nodes, memory, Redis, network, storms."), kong.UsageOnError())
	parsed.FatalIfErrorf(c.run(os.Stdout))
}

func (c *command) run(out io.Writer) error {
	in := planner.Input{
		Sessions: c.Sessions, TTL: c.TTL, RenewBefore: c.RenewBefore, Heartbeat: c.Heartbeat, CallLength: c.CallLength,
		WithoutLeave: c.WithoutLeave, DrainWindow: c.DrainWindow, Services: c.Services, Nodes: c.Nodes, NodeMemory: int64(c.NodeMemory), NodeCores: c.NodeCores,
		RedisMasters: c.RedisMasters, StormShare: c.Storm, JoinRate: c.JoinRate,
	}
	p, err := planner.Make(in)
	if err != nil {
		return err
	}
	if c.Simulate {
		if err := p.Rehearse(in); err != nil {
			return err
		}
	}
	if c.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(p)
	}
	_, err = io.WriteString(out, p.Text())
	return err
}

type size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *size) UnmarshalText(text []byte) error {
	for unit, factor := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		number, ok := strings.CutSuffix(string(text), unit)
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(number, 10, 32); err == nil && n > 0 {
			*s = size(n * factor)
			return nil
		}
	}
	return fmt.Errorf("want a whole number of MiB, GiB or TiB, such as 8GiB; have %q", text)
}

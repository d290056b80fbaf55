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
	RenewBefore  time.Duration `default:"0s" help:"How long before their expiry tokens are renewed: the --renew-before of serve."`
	Heartbeat    time.Duration `default:"50s" help:"Longest interval between two pings of a client: the --heartbeat of serve. Clients with short-lived tokens ping more often."`
	CallLength   time.Duration `default:"1h" help:"How long a call lasts on average."`
	WithoutLeave float64       `default:"0.25" help:"Share of the calls that end without the message leave, for example by a closed tab, 0 to 1. Their sessions stay until their tokens expire, and count for --max-sessions."`
	DrainWindow  time.Duration `default:"20s" help:"The --drain-window of serve."`
	Services     []string      `default:"rtc,rtm" help:"Services for which each call has tokens: rtc, rtm, chat."`
	Nodes        int           `help:"Number of nodes; 0 means as many as necessary."`
	NodeMemory   size          `default:"8GiB" help:"Memory of a node, such as 512MiB or 16GiB."`
	NodeCores    float64       `default:"4" help:"Cores of a node."`
	RedisMasters int           `name:"redis-masters" aliases:"redis-cores" help:"Number of Redis masters, each with one core; 0 means as many as necessary."`
	Storm        float64       `default:"1" help:"Share of the clients that reconnect at the same time, 0 to 1."`
	JoinRate     float64       `help:"The --join-rate of each node; 0 means as many joins as the node's cores can serve."`
	Simulate     bool          `help:"Also simulate the reconnect storm call by call, and print how far the result is from the formulas."`
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

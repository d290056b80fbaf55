package planner

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"refresher/internal/session"
)

// Input is the load for which a plan is made. Errors about a field name its flag.
type Input struct {
	Sessions int64 // number of open sessions
	// TTL is the lifetime of tokens. RenewBefore is the head start, that is how long before their expiry tokens are
	// renewed; 0 means the default.
	TTL, RenewBefore time.Duration
	// Heartbeat is the longest time between two pings of a client, as in --heartbeat.
	Heartbeat time.Duration
	// CallLength is the average length of a call, which determines how many calls begin in a second.
	CallLength time.Duration
	// WithoutLeave is the share of calls whose client disconnects without leave, for example since a tab was closed.
	// The session of such a call waits until its tokens expire.
	WithoutLeave float64
	DrainWindow  time.Duration
	// Services are the services for which each call has tokens: rtc, rtm, chat.
	Services []string
	// Nodes is the number of nodes; 0 means as many as needed.
	Nodes int
	// NodeMemory is in bytes.
	NodeMemory int64
	NodeCores  float64
	// RedisMasters is the number of Redis masters; 0 means as many as needed.
	RedisMasters int
	// StormShare is the share of all clients that lose their connections at once, in a reconnect storm.
	StormShare float64
	// JoinRate is the --join-rate of each node, at least minJoinRate. If it is 0, the plan recommends a rate.
	JoinRate float64
}

const (
	maxSessions = 1_000_000_000
	maxCores    = 1024
	maxNodes    = 1_000_000
	minMemory   = 256 << 20
	maxMemory   = 64 << 40
	minJoinRate = 0.1
	// maxMasters is the number of shards, since one shard cannot use several Redis masters.
	maxMasters = 64
)

// Check returns an error about the first setting that makes a plan impossible.
func (in *Input) Check() error {
	switch {
	case in.Sessions < 1 || in.Sessions > maxSessions:
		return fmt.Errorf("sessions: want 1 to %d; have %d", maxSessions, in.Sessions)
	case in.TTL < minTTL || in.TTL > session.MaxLifetime || in.TTL%time.Second != 0:
		return fmt.Errorf("ttl: want whole seconds, %s to %s; have %s", minTTL, session.MaxLifetime, in.TTL)
	case in.RenewBefore < 0:
		return fmt.Errorf("renew-before: want 0 (a tenth of the ttl) or more; have %s", in.RenewBefore)
	case in.RenewBefore%time.Second != 0:
		return fmt.Errorf("renew-before: want whole seconds, as serve does; have %s", in.RenewBefore)
	case in.Heartbeat < time.Second || in.Heartbeat > time.Hour:
		return fmt.Errorf("heartbeat: want 1s to 1h; have %s", in.Heartbeat)
	case in.CallLength < time.Second || in.CallLength > 168*time.Hour:
		return fmt.Errorf("call-length: want 1s to 168h; have %s", in.CallLength)
	case !(in.WithoutLeave >= 0 && in.WithoutLeave <= 1):
		return fmt.Errorf("without-leave: want 0 to 1; have %v", in.WithoutLeave)
	case in.DrainWindow < 0 || in.DrainWindow > time.Hour:
		return fmt.Errorf("drain-window: want 0 to 1h; have %s", in.DrainWindow)
	case in.Nodes < 0 || in.Nodes > maxNodes:
		return fmt.Errorf("nodes: want 1 to %d, or 0 for what it takes; have %d", maxNodes, in.Nodes)
	case in.NodeMemory < minMemory || in.NodeMemory > maxMemory:
		return fmt.Errorf("node-memory: want 256MiB to 64TiB; have %d bytes", in.NodeMemory)
	case !(in.NodeCores >= 0.1 && in.NodeCores <= maxCores):
		return fmt.Errorf("node-cores: want 0.1 to %d; have %v", maxCores, in.NodeCores)
	case in.RedisMasters < 0 || in.RedisMasters > maxMasters:
		return fmt.Errorf("redis-masters: want 1 to %d, as many as there are shards, or 0 for what it takes; have %d", maxMasters, in.RedisMasters)
	case !(in.StormShare > 0 && in.StormShare <= 1):
		return fmt.Errorf("storm: want more than 0, and at most 1; have %v", in.StormShare)
	case in.JoinRate != 0 && !(in.JoinRate >= minJoinRate && in.JoinRate <= 1_000_000):
		return fmt.Errorf("join-rate: want %v to 1000000, or 0 for what the plan recommends; have %v", minJoinRate, in.JoinRate)
	case len(in.Services) == 0:
		return errors.New("services: want at least one of rtc, rtm, chat")
	}
	for i, s := range in.Services {
		if !slices.Contains([]string{"rtc", "rtm", "chat"}, s) || slices.Contains(in.Services[:i], s) {
			return fmt.Errorf("services: want each of rtc, rtm, chat once at most; have %q", s)
		}
	}
	return nil
}

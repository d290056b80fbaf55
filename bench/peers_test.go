//go:build linux

package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/centrifugal/centrifuge"
)

// server is a row of the table.
type server struct {
	name    string // name for -bench
	title   string // name in the table
	start   starter
	dialect dialect
	redis   bool   // whether the server gets a Redis of its own
	measure string // names of measurements, which are keys of `measures`
}

// servers are the rows of the table.
var servers = []server{
	{"control", "control: a bare epoll loop", child("control", listening), plain, false, "calls refusals schedule"},
	{"coder", "coder/websocket as it comes", child("coder", listening), plain, false, "calls refusals"},
	{"gorilla", "gorilla/websocket as it comes", child("gorilla", listening), plain, false, "calls refusals"},
	{"gws", "gws as it comes", child("gws", listening), plain, false, "calls refusals"},
	{"centrifuge", "centrifuge as it comes", child("centrifuge", listening), centrifugal, false, "calls refusals"},
	{"centrifuge-tuned", "centrifuge, tuned", child("centrifuge-tuned", listening), centrifugal, false, "calls refusals"},
	{"refresher", "**refresher**", refresher, plain, false, "calls refusals schedule requests"},
	{"refresher-redis", "**refresher with Redis**", refresher, plain, true, "calls schedule"},
	{"asynq", "asynq as it comes", child("asynq", listening), plain, true, "queue"},
	{"asynq-100ms", "asynq, looking every 100 ms", child("asynq-100ms", listening), plain, true, "queue"},
	{"http", "net/http and Agora's Go builder", child("http", listening), plain, false, "requests"},
	{"gin", "Gin and the community's Go builder", child("gin", listening), plain, false, "requests"},
	{"express", "express and Agora's Node builder", node("server.js", listening), plain, false, "requests"},
	{"mint-refresher", "**refresher's builder**", child("mint-refresher", mintPrefix), plain, false, "minting"},
	{"mint-agora", "Agora's Go builder", child("mint-agora", mintPrefix), plain, false, "minting"},
	{"mint-community", "the community's Go builder", child("mint-community", mintPrefix), plain, false, "minting"},
	{"mint-node", "Agora's Node builder", node("mint.js", mintPrefix), plain, false, "minting"},
}

var measures = map[string]func(*measuring) error{
	"calls": calls, "refusals": refusals, "schedule": schedule, "queue": queue, "requests": requests, "minting": minting,
}

// children has the servers that a child process of this test binary can run.
var children = map[string]func(choice) error{
	"control":          runControl,
	"coder":            runHandler(coderServer),
	"gorilla":          runHandler(gorillaServer),
	"gws":              runHandler(gwsServer),
	"centrifuge":       runHandler(centrifugeServer(centrifuge.WebsocketConfig{})),
	"centrifuge-tuned": runHandler(centrifugeServer(tuned)),
	"asynq":            runAsynq(0),
	"asynq-100ms":      runAsynq(100 * time.Millisecond),
	"http":             runHandler(httpServer),
	"gin":              runHandler(ginServer),
	"mint-refresher":   runMint(refresherMint()),
	"mint-agora":       runMint(agoraMint),
	"mint-community":   runMint(func() (string, string, error) { return communityMint("c", 1) }),
}

var errStopped = errors.New("the log says why")

// smoke has the servers that -short measures, one of each kind, to see that the benchmark works.
var smoke = []string{"control", "centrifuge", "refresher-redis", "express", "mint-refresher"}

// BenchmarkPeers measures refresher and its peers, and prints a table of medians. Each round measures every server
// once, so that a disturbance of the machine affects all of them. If a server fails, the table has the error in place
// of its row.
func BenchmarkPeers(b *testing.B) {
	t := newTable()
	for round := range *rounds {
		for _, s := range servers {
			if testing.Short() && !slices.Contains(smoke, s.name) {
				continue
			}
			for name := range strings.FieldsSeq(s.measure) {
				b.Run(fmt.Sprintf("%d/%s/%s", round+1, s.name, name), func(b *testing.B) {
					err := errStopped // if m.Fatal ends the goroutine, err keeps this value; m.Fatal has logged the reason
					defer func() {
						if err != nil {
							t.failed(s, name, err)
						}
					}()
					err = measures[name](&measuring{B: b, server: s, table: t})
					if errors.Is(err, errMissing) {
						b.Log(err)
					} else if err != nil {
						b.Error(err)
					}
				})
			}
		}
	}
	if err := t.publish(*tableFile); err != nil {
		b.Error(err)
	}
}

package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"refresher/test/redistest"
	"refresher/tools/load/generator"
)

// Tokens of 12 s are renewed 3 to 6 s after they were made; tasks as often.
const (
	shortLife          = 12 * time.Second
	soonest, spread    = 3 * time.Second, 3 * time.Second
	asynqWorkers       = 64
	asynqTask          = "renew"
	calls, callsShort  = 5000, 50
	joinRate           = 500
	seconds, fewSecond = 30, 8
)

// progress is how far a scheduler has come.
type progress struct {
	renewals float64
	lag      *dto.Histogram // of when a renewal began (asynq) or was pushed (refresher), after it was due
}

// BenchmarkSchedule reports what a renewal that falls due by itself costs the process
// and Redis, and how late it is.
//
//	refresher    minted, pushed to its client over a WebSocket, confirmed, recorded
//	asynq        minted, and enqueued anew for the next time; nobody hears of it
//	asynq-100ms  the same, looking for what is due every 100 ms in place of every 5 s
func BenchmarkSchedule(b *testing.B) {
	b.Run("refresher", func(b *testing.B) {
		redis := redistest.Start(b)
		c := settings()
		c.Redis.URL, c.Policy.TTL = redis.URL(), shortLife
		node := runNode(b, c)
		clients := start(b, loadEnv, fmt.Sprintf("%s %d", node.Addr(), size(calls, callsShort)))
		defer clients.end()
		measureSchedule(b, redis, func() progress { return scrape(b, node.OpsAddr().String()) })
	})
	for name, every := range map[string]time.Duration{"asynq": 0, "asynq-100ms": 100 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			redis := redistest.Start(b)
			measureSchedule(b, redis, runAsynq(b, redis.Addr(), every))
		})
	}
}

func measureSchedule(b *testing.B, redis *redistest.Server, look func() progress) {
	b.Helper()
	span := time.Duration(size(seconds, fewSecond)) * time.Second
	began, processor, store := look(), processorTime(b), redis.CPU()
	for b.Loop() {
		time.Sleep(span) // what is measured is how it keeps real time
	}
	ended, processorEnd, storeEnd := look(), processorTime(b), redis.CPU()
	renewals := ended.renewals - began.renewals
	if renewals == 0 {
		b.Fatal("nothing was renewed")
	}
	b.ReportMetric(renewals/b.Elapsed().Seconds(), "renewals/s")
	b.ReportMetric(float64((processorEnd-processor).Microseconds())/renewals, "node-µs/renewal")
	b.ReportMetric(float64((storeEnd-store).Microseconds())/renewals, "redis-µs/renewal")
	b.ReportMetric(1000*quantile(.5, began.lag, ended.lag), "lag-p50-ms")
	b.ReportMetric(1000*quantile(.99, began.lag, ended.lag), "lag-p99-ms")
}

// quantile is the upper end, in seconds, of the bucket that has a quantile of what a
// histogram counted between two moments.
func quantile(q float64, from, to *dto.Histogram) float64 {
	count := float64(to.GetSampleCount() - from.GetSampleCount())
	for i, bucket := range to.GetBucket() {
		seen := bucket.GetCumulativeCount()
		if i < len(from.GetBucket()) {
			seen -= from.GetBucket()[i].GetCumulativeCount()
		}
		if float64(seen) >= q*count {
			return bucket.GetUpperBound()
		}
	}
	return -1 // beyond the last
}

// scrape reads a node's metrics.
func scrape(b *testing.B, address string) progress {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		b.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	p := progress{lag: families["refresher_push_lag_seconds"].GetMetric()[0].GetHistogram()}
	for _, m := range families["refresher_renewals_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			switch l.GetValue() {
			case "acked":
				p.renewals = m.GetCounter().GetValue()
			case "expired":
				if m.GetCounter().GetValue() > 0 {
					b.Fatal("tokens ran out")
				}
			}
		}
	}
	return p
}

// makeCalls is what the other process does: calls, until its input ends.
func makeCalls(order string) error {
	address, number, _ := strings.Cut(order, " ")
	count, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	var ready sync.Once
	g, err := generator.New(generator.Config{
		URLs: []string{"ws://" + address + "/v1/ws"}, Calls: count, JoinRate: joinRate, Duration: time.Hour, TTL: shortLife, Channels: "c",
		Tick: func(r generator.Report) {
			if r.Connected == int64(count) {
				ready.Do(func() { fmt.Println("ready") })
			}
		},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_ = bufio.NewScanner(os.Stdin).Scan() // its end is the order to stop
		stop()
	}()
	if r := g.Run(ctx); r.RanOut > 0 {
		return fmt.Errorf("calls lost their tokens %d times", r.RanOut)
	}
	return nil
}

// renewal is a task's payload.
type renewal struct {
	Session int
	DueMs   int64
}

// runAsynq runs a queue that makes a session's tokens and enqueues it anew, each when
// it is due, and tells how far it is.
func runAsynq(b *testing.B, address string, every time.Duration) func() progress {
	b.Helper()
	mint := ours(b)
	lag := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "lag", Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	})
	options := asynq.RedisClientOpt{Addr: address}
	client := asynq.NewClient(options)
	b.Cleanup(func() { _ = client.Close() })
	enqueue := func(session int) error {
		in := soonest + rand.N(spread)
		payload, err := json.Marshal(renewal{Session: session, DueMs: time.Now().Add(in).UnixMilli()})
		if err != nil {
			return err
		}
		_, err = client.Enqueue(asynq.NewTask(asynqTask, payload), asynq.ProcessIn(in))
		return err
	}
	for n := range size(calls, callsShort) {
		if err := enqueue(n); err != nil {
			b.Fatal(err)
		}
	}
	server := asynq.NewServer(options, asynq.Config{Concurrency: asynqWorkers, DelayedTaskCheckInterval: every, LogLevel: asynq.FatalLevel})
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		var r renewal
		if err := json.NewDecoder(bytes.NewReader(t.Payload())).Decode(&r); err != nil {
			return err
		}
		lag.Observe(float64(time.Now().UnixMilli()-r.DueMs) / 1000)
		if _, _, err := mint(); err != nil {
			return err
		}
		return enqueue(r.Session)
	}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Shutdown)
	return func() progress {
		var m dto.Metric
		if err := lag.Write(&m); err != nil {
			b.Fatal(err)
		}
		return progress{renewals: float64(m.GetHistogram().GetSampleCount()), lag: m.GetHistogram()}
	}
}

//go:build linux

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

// In the measurements of scheduled renewals, tokens live for shortLife. The delay from the minting of a token to its
// renewal is between `soonest` and `soonest`+`spread`. With refresher, n sessions are renewed n times in each
// meanInterval, on average.
const (
	shortLife       = 12 * time.Second
	soonest, spread = 3 * time.Second, 3 * time.Second
	meanInterval    = 3830 * time.Millisecond
)

const (
	asynqWorkers   = 64
	asynqTask      = "renew"
	progressPrefix = "progress "
)

// renewal is the payload of an asynq task.
type renewal struct {
	Session int
	DueMs   int64
}

// runAsynq is a child process in which asynq mints the tokens of each session when they are due, and enqueues the next
// renewal. It pushes no tokens to clients. It looks for due tasks after each interval `every`; 0 means asynq's default.
func runAsynq(every time.Duration) func(choice) error {
	return func(c choice) error {
		mint := refresherMint()
		var progress progress
		options := asynq.RedisClientOpt{Addr: c.Redis}
		client := asynq.NewClient(options)
		enqueue := func(session int) error {
			in := soonest + rand.N(spread)
			payload, err := json.Marshal(renewal{Session: session, DueMs: time.Now().Add(in).UnixMilli()})
			if err != nil {
				return err
			}
			_, err = client.Enqueue(asynq.NewTask(asynqTask, payload), asynq.ProcessIn(in))
			return err
		}
		for n := range c.Count {
			if err := enqueue(n); err != nil {
				return err
			}
		}
		server := asynq.NewServer(options, asynq.Config{Concurrency: asynqWorkers, DelayedTaskCheckInterval: every, LogLevel: asynq.FatalLevel})
		err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
			var r renewal
			if err := json.Unmarshal(t.Payload(), &r); err != nil {
				return err
			}
			if _, _, err := mint(); err != nil {
				return err
			}
			progress.add(time.Duration(time.Now().UnixMilli()-r.DueMs) * time.Millisecond)
			return enqueue(r.Session)
		}))
		if err != nil {
			return err
		}
		onRequest(func() string { return progressPrefix + progress.take().String() })
		fmt.Println(listening + c.Redis)
		select {}
	}
}

// progress collects how late each renewal was. It is safe for concurrent use.
type progress struct {
	mu   sync.Mutex
	lags []time.Duration // guarded by mu
}

func (p *progress) add(lag time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lags = append(p.lags, lag)
}

// take returns the lateness of all renewals since the previous call of take.
func (p *progress) take() lateness {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.lags)
	l := lateness{Count: len(p.lags)}
	for quantile, to := range map[float64]*float64{.5: &l.P50, .99: &l.P99, .999: &l.P999} {
		if l.Count > 0 {
			*to = float64(p.lags[min(l.Count-1, int(quantile*float64(l.Count)))].Microseconds()) / 1000
		}
	}
	p.lags = p.lags[:0]
	return l
}

// lateness has percentiles of how late renewals were, in milliseconds, and the number of renewals.
type lateness struct {
	Count          int
	P50, P99, P999 float64
}

func (l lateness) String() string {
	text, _ := json.Marshal(l) // Marshal cannot fail for this struct
	return string(text)
}

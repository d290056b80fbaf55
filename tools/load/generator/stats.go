package generator

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Report has the results since the start. Durations are in seconds.
type Report struct {
	Seconds   float64 `json:"seconds"`
	Calls     int     `json:"calls"`     // calls that have begun
	Connected int64   `json:"connected"` // now
	Holding   int     `json:"holding"`   // calls with valid tokens now
	Without   int     `json:"without"`   // calls that should have tokens by now but never had any, since the service refused them or did not answer

	Joins    uint64 `json:"joins"`
	Resumes  uint64 `json:"resumes"`
	Renewals uint64 `json:"renewals"` // bundles of tokens that clients accepted before their old tokens expired
	Repeats  uint64 `json:"repeats"`  // pushes that the service sent again
	Pings    uint64 `json:"pings"`
	Drops    uint64 `json:"drops"` // connections that the generator cut, by --drop-rate
	Lost     uint64 `json:"lost"`  // connections that ended for any other reason
	Moves    uint64 `json:"moves"` // times that the service told a call to reconnect

	Margin Spread `json:"margin_seconds"` // remaining life of the old tokens at a renewal
	Back   Spread `json:"back_seconds"`   // remaining life of the tokens when a call had reconnected
	Lag    Spread `json:"lag_seconds"`    // how long after the due time of the renewal a push came
	Away   Spread `json:"away_seconds"`   // how long a call was without a connection after it had lost one

	BytesIn  uint64 `json:"bytes_in"` // bytes of the WebSocket and its handshake, without TCP and TLS
	BytesOut uint64 `json:"bytes_out"`

	Reconnects map[string]uint64 `json:"reconnects"` // how often the service told calls to reconnect, by reason: drain, overload
	Errors     map[string]uint64 `json:"errors"`
	Dial       string            `json:"dial,omitempty"` // error of the first connection that failed

	RanOut      uint64  `json:"ran_out"` // how often the tokens of a call expired
	LostSeconds float64 `json:"call_seconds_lost"`
	SeqFell     uint64  `json:"seq_fell"`
	Refused     uint64  `json:"refused"` // calls that the service ended or refused for good
}

// Spread summarizes a distribution. Without values, all fields are 0.
type Spread struct {
	Count uint64  `json:"count"`
	Least float64 `json:"least"`
	P1    float64 `json:"p1"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Most  float64 `json:"most"`
}

// stats counts what a Report has. It is safe for concurrent use.
type stats struct {
	connected                                       atomic.Int64
	joins, resumes, renewals, repeats, pings, drops atomic.Uint64
	lost, moves, in, out, ranOut, seqFell, refused  atomic.Uint64
	lostMs                                          atomic.Int64
	margin, backWith, lag, away                     spread

	mu         sync.Mutex
	errors     map[string]uint64 // guarded by mu
	reconnects map[string]uint64 // guarded by mu; the keys are the reasons
	dial       string            // guarded by mu; error of the first connection that failed
}

// maxNames is how many names of errors are counted at most, since a faulty service could send any number of them.
const maxNames = 100

func (s *stats) failed(name string) { s.count(s.errors, name) }

// asked counts a message that tells a call to reconnect. Such a message is no error.
func (s *stats) asked(reason string) { s.count(s.reconnects, reason) }

func (s *stats) count(names map[string]uint64, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := names[name]; !known && len(names) >= maxNames {
		name = "other"
	}
	names[name]++
}

// notConnected counts an attempt to connect that failed.
func (s *stats) notConnected(err error) {
	s.failed("connect")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dial == "" {
		s.dial = err.Error()
	}
}

// nobody reports whether all attempts to connect have failed.
func (s *stats) nobody() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dial != "" && s.in.Load() == 0
}

func (s *stats) report() Report {
	s.mu.Lock()
	errors, reconnects, dial := maps.Clone(s.errors), maps.Clone(s.reconnects), s.dial
	s.mu.Unlock()
	return Report{
		Connected: s.connected.Load(),
		Joins:     s.joins.Load(), Resumes: s.resumes.Load(), Renewals: s.renewals.Load(), Repeats: s.repeats.Load(),
		Pings: s.pings.Load(), Drops: s.drops.Load(), Lost: s.lost.Load(), Moves: s.moves.Load(),
		Margin: s.margin.read(), Back: s.backWith.read(), Lag: s.lag.read(), Away: s.away.read(),
		BytesIn: s.in.Load(), BytesOut: s.out.Load(), Reconnects: reconnects, Errors: errors, Dial: dial,
		RanOut: s.ranOut.Load(), LostSeconds: float64(s.lostMs.Load()) / 1000, SeqFell: s.seqFell.Load(), Refused: s.refused.Load(),
	}
}

// The first bucket of a spread ends at 1 ms, each further one is 2% wider than the one before, and the last one has all
// durations above a day.
const (
	growth  = 1.02
	buckets = 925 // log(86,400,000) / log(growth), rounded up generously
)

// spread is a histogram of durations. It is safe for concurrent use.
type spread struct {
	mu          sync.Mutex
	counts      [buckets]uint64
	count       uint64
	least, most time.Duration
}

func (s *spread) add(d time.Duration) {
	d = max(0, d)
	i := 0
	if ms := float64(d) / float64(time.Millisecond); ms > 1 {
		i = min(buckets-1, 1+int(math.Log(ms)/math.Log(growth)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 || d < s.least {
		s.least = d
	}
	s.most = max(s.most, d)
	s.count++
	s.counts[i]++
}

func (s *spread) read() Spread {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == 0 {
		return Spread{}
	}
	return Spread{
		Count: s.count, Least: s.least.Seconds(), Most: s.most.Seconds(),
		P1: s.quantile(0.01), P50: s.quantile(0.5), P99: s.quantile(0.99),
	}
}

// quantile returns the middle of the bucket of the quantile q, but no less than the least duration and no more than the
// longest one. The caller holds mu.
func (s *spread) quantile(q float64) float64 {
	rank, seen := uint64(math.Ceil(q*float64(s.count))), uint64(0)
	for i, n := range s.counts {
		if seen += n; seen >= rank {
			middle := math.Pow(growth, float64(i)-0.5) / 1000
			return min(max(middle, s.least.Seconds()), s.most.Seconds())
		}
	}
	return s.most.Seconds()
}

package scheduler

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	sharing "refresher/internal/cluster"
	"refresher/internal/session"
	"refresher/internal/store"
)

func TestSixtyRenewalsOfShortTokens(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joined(t, s, 12*time.Second)
		wait(12 * time.Second * 60)
		require(t, len(p.got().pushes) >= 60, "%d renewals", len(p.got().pushes))
		for i, push := range p.got().pushes {
			left := push.PreviousExpiresAt.Time().Sub(p.got().at[i])
			// The head start is half of the 12 s lifetime. Rounding of expiries takes up to a
			// second, and the jitter adds up to half the head start.
			if push.Rejoin || push.Attempt != 1 || left < 6*time.Second || left > 10*time.Second {
				t.Fatalf("renewal %d: %+v with %s left", i, push, left)
			}
			require(t, push.Seq == uint64(i+2), "renewal %d has seq %d", i, push.Seq)
		}
		whole(t, s)
	})
}

func TestADayOfCallsOfEveryLength(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		var clients []*fakeClient
		for i, ttl := range []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 23 * time.Hour, 24 * time.Hour} {
			delay := time.Duration(i) * 700 * time.Millisecond
			p := &fakeClient{t: t, scheduler: s, answer: func(p *fakeClient, push session.Push) {
				pass(delay)
				p.ack(push.Seq)
			}}
			p.join(ttl)
			clients = append(clients, p)
		}
		length := 72 * time.Hour
		if testing.Short() {
			length = 25 * time.Hour // longer than the longest lifetime of the tokens
		}
		wait(length)
		for _, p := range clients {
			check(t, !p.got().lost && p.got().ended == nil, "lost %v, ended %v", p.got().lost, p.got().ended)
			for i, push := range p.got().pushes {
				check(t, !push.Rejoin, "renewal %d came after the expiry", i)
			}
			left := time.Until(p.got().expiresAt.Time())
			check(t, left > 0, "tokens ran out %s ago", -left)
		}
		whole(t, s)
		for _, p := range clients {
			p.current().Leave()
		}
		wait(time.Minute) // waits for the last answers
	})
}

func TestClientThatStopsAcking(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joinedSilent(t, s, time.Hour)
		wait(time.Hour - 20*time.Second)
		require(t, p.got().lost, "a silent client was not given up")
		if len(p.got().pushes) != 2 || p.got().pushes[0].Seq != p.got().pushes[1].Seq || p.got().pushes[1].Attempt != 2 || p.got().at[1].Sub(p.got().at[0]) != 5*time.Second {
			t.Fatalf("pushes %+v at %v", p.got().pushes, p.got().at)
		}
		back := p.again()
		back.answer = nil
		must(t, back.resume(p))
		require(t, back.got().joined.Seq == 3 && !back.got().joined.Rejoin && back.got().joined.Resumed, "joined %+v", back.got().joined)
		wait(10 * time.Minute) // the client acks, and its tokens are renewed again
		require(t, !back.got().lost && len(back.got().pushes) != 0, "the resumed session does not go on")
		whole(t, s)
	})
}

// wantExpired checks the metric of renewals whose tokens expired before they were confirmed.
func wantExpired(t *testing.T, s *Scheduler, want float64) {
	t.Helper()
	have := testutil.ToFloat64(s.metrics.renewals["expired"])
	check(t, have == want, "%v expired renewals are counted, want %v", have, want)
}

// checkRanOut checks the metric of clients whose tokens expired, by the session's state at the
// expiry.
func checkRanOut(t *testing.T, s *Scheduler, attached, detached float64) {
	t.Helper()
	if a, d := testutil.ToFloat64(s.metrics.tokensExpired["attached"]), testutil.ToFloat64(s.metrics.tokensExpired["detached"]); a != attached || d != detached {
		t.Errorf("tokens of %v attached and %v detached clients ran out; want %v and %v", a, d, attached, detached)
	}
}

func TestTokensThatRanOutUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		s := start(t, c)
		p := &fakeClient{t: t, scheduler: s, answer: func(p *fakeClient, push session.Push) {
			if push.Rejoin {
				_ = p.current().Ack(push.Seq)
			} else if err := p.current().Nack(push.Seq, "X", "no"); err != nil {
				t.Error(err)
			}
		}}
		p.join(10 * time.Second)
		end := p.got().expiresAt.Time()
		wait(10 * time.Second)
		i := len(p.got().pushes) - 1
		if last := p.got().pushes[i]; !last.Rejoin || last.Attempt != 1 || !p.got().at[i].Equal(end) {
			t.Fatalf("last push %+v at %s, the tokens ended at %s", last, p.got().at[i], end)
		}
		wantExpired(t, s, 1)
		checkRanOut(t, s, 1, 0)
		check(t, testutil.ToFloat64(s.metrics.renewals["nacked"]) != 0, "no nack counted")
		p.current().Leave()
	})
}

// If the tokens of a detached session expire, the session is removed after the resume window. Its
// client may still resume, and must then join its call again. The expiry is counted once.
func TestDetachedSessionIsSettled(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joined(t, s, 10*time.Second)
		p.current().Detach()
		wait(11 * time.Second)
		wantExpired(t, s, 1)
		checkRanOut(t, s, 0, 1)
		wait(2 * time.Minute)
		whole(t, s)
		check(t, len(s.table.open) == 0, "%d sessions are kept", len(s.table.open))
		check(t, len(p.got().pushes) == 0, "pushed %d times to a client that is gone", len(p.got().pushes))
		back, resume := p.again(), p.resumeRequest()
		resume.ExpiresAt = p.got().expiresAt
		a, err := s.Resume(context.Background(), resume, back)
		must(t, err)
		back.hold(a)
		got := back.got().joined
		check(t, got.Seq == 2 && got.Session == p.id() && got.Rejoin, "joined %+v", got)
		must(t, back.current().Nack(got.Seq, "X", "no"))
		wait(5 * time.Second)
		checkRanOut(t, s, 0, 1)
	})
}

func TestNewerConnectionWins(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joined(t, s, time.Hour)
		newer := p.comesBack()
		p.wantTold(session.EndSuperseded)
		// Messages on the older connection change nothing.
		p.current().Leave()
		p.current().Detach()
		p.current().Renew()
		p.ack(2)
		newer.ack(2)
		wait(time.Hour)
		require(t, newer.got().ended == nil && len(newer.got().pushes) == 1, "ended %+v, %d pushes", newer.got().ended, len(newer.got().pushes))
		wantEnded(t, p.again().resume(p), session.EndSuperseded)
		whole(t, s)
	})
}

// Without a Cluster, a Scheduler removes an ended session once its resume keys have
// expired.
func TestSchedulerAloneForgetsCallsThatAreOver(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joined(t, s, time.Minute)
		p.current().Leave()
		id := p.got().joined.Session
		wait(59 * time.Minute)
		wantEnded(t, p.again().resume(p), session.EndLeft)
		wait(30 * 24 * time.Hour)
		check(t, s.table.get(id) == nil, "it is kept for ever")
	})
}

func TestSessionThatWasLeftStaysClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Policy.MaxSession = 24 * time.Hour
		shared := c.share()
		s := start(t, c)
		p := joined(t, s, time.Hour)
		p.current().Leave()
		if p.got().ended == nil || p.got().ended.Reason != session.EndLeft || p.got().ended.AccessEndsAt != p.got().expiresAt {
			t.Fatalf("ended %+v", p.got().ended)
		}
		for range 2 { // tests the key before and after the end is saved to the store
			wantEnded(t, p.again().resume(p), session.EndLeft)
			if _, err := s.RenewByKey(context.Background(), p.resumeRequest()); !endedWith(err, session.EndLeft) {
				t.Fatalf("renewal over HTTP: %v", err)
			}
			wait(time.Minute)
			equal(t, "ended sessions that the store knows of", len(s.table.open)+len(s.table.ended), 0)
		}
		wait(25 * time.Hour) // the session's terms have ended, so the store deletes its tombstone
		if open, tombstones := shared.Len(); open+tombstones != 0 {
			t.Errorf("%d ended sessions are kept for ever, and %d tombstones", open, tombstones)
		}
		wantEnded(t, p.again().resume(p), session.EndExpired)
		whole(t, s)
	})
}

func TestNodeThatKnowsNothingButTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		p := joined(t, start(t, c), time.Minute)
		wait(5 * time.Minute)
		before := p.newest()

		c.Registerer = prometheus.NewRegistry()
		back := p.again()
		back.scheduler = start(t, c)
		must(t, back.resume(p))
		got := back.got().joined
		check(t, got.Session == p.id() && got.Seq == before.Seq+1 && got.Tokens.ExpiresAt >= before.Tokens.ExpiresAt, "joined %+v after %+v", got, before)
		wait(5 * time.Minute)
		back.wantServed(5)
	})
}

// A client without a WebSocket can renew over HTTP. If it sends no seq, it is assumed to have the
// tokens that it last got.
func TestRenewByKey(t *testing.T) {
	for _, unknown := range []bool{false, true} {
		withScheduler(t, func(t *testing.T, s *Scheduler) {
			p := joined(t, s, time.Minute)
			p.current().Detach()
			ask, seq := p.resumeRequest(), p.got().joined.Seq
			ask.SeqUnknown = unknown
			for range 20 {
				wait(40 * time.Second)
				push, err := s.RenewByKey(context.Background(), ask)
				must(t, err)
				require(t, push.Seq == seq+1 && !push.Rejoin && push.Cause == session.CauseRenew, "push %+v after %d", push, seq)
				seq = push.Seq
				if !unknown {
					ask.Seq = seq
				}
			}
			wantExpired(t, s, 0)
			ask.Seq, ask.SeqUnknown = seq-1, false // the request is the same as if the last answer had been lost
			again, err := s.RenewByKey(context.Background(), ask)
			require(t, err == nil && again.Seq == seq, "asked again: %+v, %v", again, err)
			whole(t, s)
		})
	}
}

func TestRenewalOverHTTPAnswersNoPush(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joinedSilent(t, s, time.Hour)
		p.renewOn(s)
		wait(time.Minute)
		if got := p.got(); len(got.pushes) != 2 || !got.lost {
			t.Fatalf("%d pushes on the connection, lost %v; want two tries", len(got.pushes), got.lost)
		}
	})
}

func TestFailedJoinTakesNoRoom(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := &fakeClient{t: t, scheduler: s, refuse: true}
		if _, err := s.Join(context.Background(), session.Join{Caller: anybody}, p); !errors.Is(err, errGone) {
			t.Fatalf("join: %v", err)
		}
		require(t, len(s.table.open) == 0 && s.table.queue.Len() == 0 && len(s.table.ended) == 0, "a session that nobody has the key to was kept")
	})
}

// A node closes a connection when its client resumes with a key of a higher epoch.
func TestConnectionOfAnOlderEpochIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		here := start(t, c)
		p := joined(t, here, time.Hour)
		c.Registerer = prometheus.NewRegistry()
		elsewhere := p.again()
		elsewhere.scheduler = start(t, c)
		must(t, elsewhere.resume(p))
		elsewhere.renewOn(here)
		p.wantTold(session.EndSuperseded)
		equal(t, "attached sessions", testutil.ToFloat64(here.metrics.sessions[session.Attached]), 0)
	})
}

func TestRenewalThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		m := &failingMinter{}
		c.Minter = m
		s := start(t, c)
		p := joined(t, s, 10*time.Second)
		m.broken.Store(true)
		wait(time.Minute) // the client's tokens expire while minting fails
		require(t, m.tries.Load() >= 30 && m.tries.Load() <= 60, "%d tries in a minute", m.tries.Load())
		m.broken.Store(false)
		wait(5 * time.Second)
		require(t, len(p.got().pushes) != 0 && p.got().pushes[0].Rejoin, "pushes %+v", p.got().pushes)
		wantExpired(t, s, 1)
		whole(t, s)
	})
}

// failingMinter is a plainMinter that fails when a test says so.
type failingMinter struct {
	broken atomic.Bool
	tries  atomic.Int64
}

func (m *failingMinter) Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	m.tries.Add(1)
	if m.broken.Load() {
		return session.Tokens{}, errGone
	}
	return plainMinter{}.Mint(app, id, f, cause, issuedAt, expiresAt)
}

func TestCallsThatBeganTogetherRenewApart(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		const n = 2000
		var clients []*fakeClient
		for range n {
			p := joined(t, s, time.Hour)
			clients = append(clients, p)
		}
		wait(time.Hour)
		perSecond := make(map[int64]int)
		for _, p := range clients {
			require(t, len(p.got().at) == 1, "%d renewals in the first hour", len(p.got().at))
			perSecond[p.got().at[0].Unix()]++
		}
		// The jitter of up to 150 s spreads the renewals to 13 per second on average.
		for second, count := range perSecond {
			check(t, count <= 40, "%d renewals in second %d", count, second)
		}
	})
}

func TestWallClockSteps(t *testing.T) {
	for _, step := range []time.Duration{-2 * time.Hour, -90 * time.Second, 90 * time.Second, 2 * time.Hour, 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stepWallClock(t, step) })
		})
	}
}

// stepWallClock sets the wall clock while the node has a thousand sessions. It checks that no
// tokens expire and that the renewals are spread.
func stepWallClock(t *testing.T, step time.Duration) {
	s := build(t, testConfig(t)).Scheduler
	var offset atomic.Int64
	wall := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	s.clock.wall = wall
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(t.Context())
	}()
	t.Cleanup(func() { <-done })

	const n = 1000
	var clients []*fakeClient
	for range n {
		p := joined(t, s, time.Hour)
		clients = append(clients, p)
	}
	wait(30 * time.Minute)
	offset.Store(int64(step))
	wait(clockCheckEvery + stepWindow + time.Second)
	for _, p := range clients {
		if left := p.got().expiresAt.Time().Sub(wall()); left <= 0 {
			t.Fatalf("tokens are dead by the new time, since %s", -left)
		}
	}
	wait(3 * time.Hour)
	perSecond := make(map[int64]int)
	for _, p := range clients {
		if left := p.got().expiresAt.Time().Sub(wall()); left <= 0 {
			t.Fatalf("tokens ran out %s ago", -left)
		}
		for i, push := range p.got().pushes {
			require(t, !push.Rejoin, "told to rejoin, though it was renewed all the time")
			perSecond[p.got().at[i].Unix()]++
		}
	}
	for second, count := range perSecond {
		check(t, count <= n/10, "%d of %d calls renewed in second %d", count, n, second)
	}
	whole(t, s)
}

func TestMetricsLookAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		registry := prometheus.NewRegistry()
		c.Registerer = registry
		c.Policy.AckTimeout = 30 * time.Second // a long timeout keeps the silent client's connection open
		s := start(t, c)
		joinedSilent(t, s, 40*time.Second)
		q := joined(t, s, time.Hour)
		wait(21 * time.Second) // the silent client's renewal is unconfirmed, and its tokens expire in less than 20 s
		err := testutil.GatherAndCompare(registry, strings.NewReader(`
			# HELP refresher_sessions_at_risk Sessions whose renewal is unconfirmed and whose tokens run out in less than 30 s.
			# TYPE refresher_sessions_at_risk gauge
			refresher_sessions_at_risk 1
			# HELP refresher_sessions Sessions that this node keeps: attached to a connection, or detached and waiting for their client.
			# TYPE refresher_sessions gauge
			refresher_sessions{state="attached"} 2
			refresher_sessions{state="detached"} 0
		`), "refresher_sessions_at_risk", "refresher_sessions")
		if err != nil {
			t.Error(err)
		}
		problems, err := testutil.GatherAndLint(registry)
		check(t, err == nil && len(problems) == 0, "lint: %v, %v", problems, err)
		q.current().Leave()
		check(t, testutil.CollectAndCount(s.metrics.margin) == 1, "%d margin histograms", testutil.CollectAndCount(s.metrics.margin))
	})
}

// counted is a store that counts the saved records.
type counted struct {
	sharing.Store
	records atomic.Int64
}

func (c *counted) Save(ctx context.Context, records []store.Record) ([]store.Outcome, error) {
	c.records.Add(int64(len(records)))
	return c.Store.Save(ctx, records)
}

// A client that alternates between ack and nack at the maximum rate gets no more bundles than a
// client whose SDK refuses everything.
func TestAckAndNackInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.share()
		written := &counted{Store: c.Store}
		var log bytes.Buffer // guarded by the session's lock
		c.Store, c.Logger = written, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		s := start(t, c)
		p := joinedSilent(t, s, time.Hour)
		wait(time.Second)
		written.records.Store(0)
		for range 31 * 5 {
			seq := p.got().joined.Seq + uint64(len(p.got().pushes))
			p.ack(seq)
			must(t, p.current().Nack(seq, "X", "no"))
			wait(200 * time.Millisecond)
		}
		p.current().Leave()
		wait(time.Second)
		check(t, len(p.got().pushes) >= 6 && len(p.got().pushes) <= 7, "%d bundles in 31 s", len(p.got().pushes))
		// one for each bundle, one for the first use of the key, one for the end
		check(t, written.records.Load() <= 9, "%d writes", written.records.Load())
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		check(t, len(lines) == 4, "%d lines in 31 s", len(lines))
		for i, line := range lines {
			more := []string{"more=0", "more=49", "more=49", "more=49"}[min(i, 3)]
			check(t, strings.Contains(line, "SDK refused the tokens") && strings.Contains(line, more), "line %d, want %s: %s", i, more, line)
		}
	})
}

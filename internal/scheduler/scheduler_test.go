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
	dto "github.com/prometheus/client_model/go"

	"refresher/internal/session"
	"refresher/internal/store"
)

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

func TestConnectionOfASilentClientIsClosed(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joinedSilent(t, s, time.Hour)
		p.renewOn(s) // a renewal over HTTP does not count as an answer to the push on the connection
		wait(time.Minute)
		got := p.got()
		check(t, got.lost && len(got.pushes) == 2 && got.at[1].Sub(got.at[0]) == 5*time.Second, "lost %v, pushes %+v at %v", got.lost, got.pushes, got.at)
		back := p.again()
		back.answer = nil
		must(t, back.resume(p))
		wait(time.Hour)
		back.wantServed(1)
		whole(t, s)
	})
}

// wantExpired checks the metrics of tokens that expired before they were renewed, by the state of
// the session at the expiry.
func wantExpired(t *testing.T, s *Scheduler, attached, detached float64) {
	t.Helper()
	m := s.metrics
	have := [3]float64{testutil.ToFloat64(m.tokensExpired["attached"]), testutil.ToFloat64(m.tokensExpired["detached"]), testutil.ToFloat64(m.renewals["expired"])}
	equal(t, "expiries of attached and detached clients, and expired renewals", have, [3]float64{attached, detached, attached + detached})
}

// If the client's tokens expire although it is connected, it must join its call again at that
// moment.
func TestTokensThatExpireUnconfirmed(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := &fakeClient{t: t, scheduler: s, answer: func(p *fakeClient, push session.Push) {
			if push.Rejoin {
				p.ack(push.Seq)
			} else {
				must(p.t, p.current().Nack(push.Seq, "X", "no"))
			}
		}}
		p.join(10 * time.Second)
		end := p.got().expiresAt.Time()
		wait(10 * time.Second)
		got := p.got()
		last := len(got.pushes) - 1
		check(t, got.pushes[last].Rejoin && got.at[last].Equal(end), "last push %+v at %s, the tokens expired at %s", got.pushes[last], got.at[last], end)
		wantExpired(t, s, 1, 0)
		check(t, testutil.ToFloat64(s.metrics.renewals["nacked"]) != 0, "no nack counted")
		p.current().Leave()
	})
}

// If the tokens of a detached session expire, the session is removed after the resume window. Its
// client may still resume, and must then join its call again. The expiry is counted once.
func TestDetachedSessionIsSettled(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := joinedDetached(t, s, 10*time.Second)
		wait(11 * time.Second)
		wantExpired(t, s, 0, 1)
		wait(2 * time.Minute)
		equal(t, "open sessions", len(s.table.open), 0)
		back, resume := p.again(), p.resumeRequest()
		resume.ExpiresAt = p.got().expiresAt
		a, err := s.Resume(context.Background(), resume, back)
		must(t, err)
		back.hold(a)
		got := back.got().joined
		check(t, got.Seq == 2 && got.Session == p.id() && got.Rejoin, "joined %+v", got)
		must(t, a.Nack(got.Seq, "X", "no"))
		wait(5 * time.Second)
		wantExpired(t, s, 0, 1)
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
		newer.wantServed(1)
		wantEnded(t, p.again().resume(p), session.EndSuperseded)
		whole(t, s)
	})
}

// A node closes a connection when its client presents a key of a higher epoch.
func TestConnectionOfAnOlderEpochIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, elsewhere := start(t, testConfig(t)), start(t, testConfig(t))
		p := joined(t, here, time.Hour)
		newer := p.again()
		newer.scheduler = elsewhere
		must(t, newer.resume(p))
		newer.renewOn(here)
		p.wantTold(session.EndSuperseded)
		equal(t, "attached sessions", testutil.ToFloat64(here.metrics.sessions[session.Attached]), 0)
	})
}

// The keys of a session that ended on purpose are refused until they expire, whether or not the end
// is saved to a store. Once the keys have expired, nothing of the session is kept.
func TestSessionThatWasLeftStaysClosed(t *testing.T) {
	for _, shared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := testConfig(t)
			c.Policy.MaxSession = 2 * time.Hour
			memory := store.NewMemory(time.Now)
			if shared {
				memory = c.share()
			}
			s := start(t, c)
			p := joined(t, s, time.Minute)
			p.current().Leave()
			p.wantTold(session.EndLeft)
			equal(t, "end of the access", p.got().ended.AccessEndsAt, p.got().expiresAt)
			for range 2 { // tests the key before and after the end is saved to the store
				wantEnded(t, p.again().resume(p), session.EndLeft)
				_, err := s.RenewByKey(context.Background(), p.resumeRequest())
				wantEnded(t, err, session.EndLeft)
				wait(time.Hour - time.Minute)
			}
			wait(time.Hour)
			open, tombstones := memory.Len()
			equal(t, "sessions kept", len(s.table.open)+len(s.table.ended)+open+tombstones, 0)
			wantEnded(t, p.again().resume(p), session.EndExpired)
			whole(t, s)
		})
	}
}

// A client without a WebSocket can renew over HTTP. If it sends no seq, it is assumed to have the
// tokens that it last got.
func TestRenewByKey(t *testing.T) {
	for _, unknown := range []bool{false, true} {
		withScheduler(t, func(t *testing.T, s *Scheduler) {
			p := joinedDetached(t, s, time.Minute)
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
			wantExpired(t, s, 0, 0)
			ask.Seq, ask.SeqUnknown = seq-1, false // the request is the same as if the last answer had been lost
			again, err := s.RenewByKey(context.Background(), ask)
			check(t, err == nil && again.Seq == seq, "requested again: %+v, %v", again, err)
			whole(t, s)
		})
	}
}

func TestFailedJoinTakesNoRoom(t *testing.T) {
	withScheduler(t, func(t *testing.T, s *Scheduler) {
		p := &fakeClient{t: t, scheduler: s, refuse: true}
		err := p.open(session.Join{Caller: anybody})
		check(t, errors.Is(err, errGone), "join: %v", err)
		equal(t, "sessions kept", len(s.table.open)+s.table.queue.Len()+len(s.table.ended), 0)
	})
}

// If the wall clock is set forward or back, no tokens expire.
func TestWallClockSteps(t *testing.T) {
	for _, step := range []time.Duration{-2 * time.Hour, 90 * time.Second, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			n := build(t, testConfig(t))
			var offset atomic.Int64
			wall := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
			n.clock.wall = wall
			n.start(t)
			clients := joinedMany(t, n.Scheduler, 20, time.Hour)
			wait(30 * time.Minute)
			offset.Store(int64(step))
			wait(clockCheckEvery + stepWindow + time.Second)
			for range 2 {
				for _, p := range clients {
					check(t, p.got().expiresAt.Time().After(wall()), "step %s: tokens expired", step)
					for _, push := range p.got().pushes {
						check(t, !push.Rejoin, "step %s: told to join the call again", step)
					}
				}
				wait(3 * time.Hour)
			}
			whole(t, n.Scheduler)
		})
	}
}

func TestMetricsLookAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		registry := prometheus.NewRegistry()
		c.Registerer = registry
		c.Policy.AckTimeout = 30 * time.Second // a long timeout keeps the silent client's connection open
		s := start(t, c)
		slow := &fakeClient{t: t, scheduler: s, answer: silent, take: func() error { pass(20 * time.Millisecond); return nil }}
		slow.join(40 * time.Second)
		joined(t, s, time.Hour)
		wait(21 * time.Second) // the silent client's renewal is unconfirmed, and its tokens expire in less than 20 s
		err := testutil.GatherAndCompare(registry, strings.NewReader(`
			# HELP refresher_sessions_at_risk Connected sessions whose tokens expire within 30 s and whose renewal is not confirmed.
			# TYPE refresher_sessions_at_risk gauge
			refresher_sessions_at_risk 1
			# HELP refresher_sessions Sessions that this node keeps: attached to a connection, or detached and waiting for their client.
			# TYPE refresher_sessions gauge
			refresher_sessions{state="attached"} 2
			refresher_sessions{state="detached"} 0
		`), "refresher_sessions_at_risk", "refresher_sessions")
		check(t, err == nil, "%v", err)
		var lag dto.Metric
		must(t, s.metrics.lag.Write(&lag))
		equal(t, "pushes", lag.GetHistogram().GetSampleCount(), 1)
		equal(t, "seconds between the due times and the pushes", lag.GetHistogram().GetSampleSum(), 0.02)
		problems, err := testutil.GatherAndLint(registry)
		check(t, err == nil && len(problems) == 0, "lint: %v, %v", problems, err)
	})
}

// A client that alternates between ack and nack at the maximum rate gets no more bundles than a
// client whose SDK refuses everything.
func TestAckAndNackInTurns(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		var log bytes.Buffer // guarded by the session's lock
		c.config.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		a := c.start("a")
		p := joinedSilent(t, a.Scheduler, time.Hour)
		wait(time.Second)
		saved := a.countSaves()
		for range 31 * 5 {
			seq := p.newest().Seq
			p.ack(seq)
			must(t, p.current().Nack(seq, "X", "no"))
			wait(200 * time.Millisecond)
		}
		p.current().Leave()
		wait(time.Second)
		bundles := len(p.got().pushes)
		check(t, bundles >= 6 && bundles <= 7, "%d bundles in 31 s", bundles)
		// The node saves at most one record for each bundle of tokens, one when the client first uses the resume key,
		// and one when the session ends.
		check(t, saved.Load() <= 9, "%d records saved", saved.Load())
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		equal(t, "log lines in 31 s", len(lines), 4)
		for i, line := range lines {
			more := []string{"more=0", "more=49", "more=49", "more=49"}[min(i, 3)]
			check(t, strings.Contains(line, "SDK refused the tokens") && strings.Contains(line, more), "line %d, want %s: %s", i, more, line)
		}
	})
}

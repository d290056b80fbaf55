package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
)

// healthy checks the error of Health: nil if want is empty, otherwise an error that contains want.
func healthy(t *testing.T, s *Scheduler, want string) {
	t.Helper()
	err := s.Health()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := build(t, testConfig(t)).Scheduler
		healthy(t, s, "have not begun")
		wait(time.Hour)
		select {
		case <-s.Begun():
			t.Error("it has begun before Run")
		default:
		}
		equal(t, "time without progress before it began", s.Stalled(), 0)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		s.Run(ctx)
		<-s.Begun()
		wait(time.Hour)
		healthy(t, s, "stand still, for 3600 s")
		equal(t, "time without progress", s.Stalled(), time.Hour)
	})
	t.Run("idle", func(t *testing.T) {
		withScheduler(t, func(t *testing.T, s *Scheduler) {
			for range 100 {
				wait(time.Minute + 1700*time.Millisecond)
				healthy(t, s, "")
				if still := s.Stalled(); still > stallLimit {
					t.Errorf("it has stood still for %v", still)
				}
			}
		})
	})
}

func TestHealthWhileTokensCannotBeMinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &failingMinter{}
		log := &strings.Builder{}
		c := testConfig(t)
		registry := prometheus.NewRegistry()
		c.Minter, c.Registerer, c.Logger = m, registry, slog.New(slog.NewTextHandler(log, nil))
		s := start(t, c)
		for range 20 {
			joined(t, s, 10*time.Minute)
		}
		m.broken.Store(true)
		wait(9*time.Minute + 5*time.Second)
		healthy(t, s, "cannot be minted")
		m.broken.Store(false)
		wait(2 * time.Second)
		healthy(t, s, "")
		failed := testutil.ToFloat64(s.metrics.errors)
		lines := strings.Count(log.String(), "renewal failed, trying again")
		// The renewals become due within about 30 s. Each is tried again every second, and at most
		// one failure in ten seconds is logged.
		check(t, failed >= 40 && lines >= 2 && lines <= 8, "%v failures, %d lines", failed, lines)
		equal(t, "renewals", testutil.ToFloat64(s.metrics.renewals["acked"]), 20)
		m.broken.Store(true)
		if err := tryJoin(s); err == nil {
			t.Error("joined without tokens")
		}
		healthy(t, s, "cannot be minted")
		wait(failureHolds) // Health recovers after failureHolds, since no token was minted after the last failure
		healthy(t, s, "")
	})
}

// Health fails if Run's loop stalls.
func TestHealthWhileRenewalsAreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Slots = 1
		s := start(t, c)
		for range 3 {
			joined(t, s, 10*time.Minute)
		}
		s.workers.slots <- struct{}{} // takes the only slot of the workers, so that no worker can start
		wait(8*time.Minute + 30*time.Second)
		healthy(t, s, "")
		wait(2 * time.Minute)
		healthy(t, s, "stand still")
		behind := func() float64 {
			return s.table.behind(s.clock.now().Mono).Seconds()
		}
		check(t, behind() >= 30 && behind() <= 120, "%v s behind", behind())
		<-s.workers.slots
		wait(time.Second)
		healthy(t, s, "")
		check(t, behind() == 0, "%v s behind", behind())
	})
}

// Health fails if clients that are slow to read make renewals late.
func TestHealthWhileRenewalsAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Slots = 1
		s := start(t, c)
		for range 800 {
			(&fakeClient{t: t, scheduler: s, take: func() error { pass(2 * time.Second); return nil }}).join(10 * time.Minute)
		}
		// the renewals become due within half a minute, but the slow pushes take all slots for 80 s
		wait(9*time.Minute + 15*time.Second)
		healthy(t, s, "s late")
		wait(5 * time.Minute)
		healthy(t, s, "")
	})
}

// A request with an invalid name does not count as a failure of the node.
func TestHealthDespiteBadNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Minter = refusingMinter{}
		s := start(t, c)
		wait(time.Second)
		_, err := s.Join(context.Background(), session.Join{Identity: session.Identity{RTC: &session.RTC{Channel: "a/b", UID: 1}}, Caller: anybody}, &fakeClient{t: t, scheduler: s})
		if _, refused := errors.AsType[*session.Error](err); !refused {
			t.Errorf("got %v", err)
		}
		healthy(t, s, "")
	})
}

// refusingMinter refuses every name.
type refusingMinter struct{}

func (refusingMinter) Mint(string, session.Identity, session.Format, session.Cause, session.UnixSec, session.UnixSec) (session.Tokens, error) {
	return session.Tokens{}, session.Errorf(session.CodeBadRequest, "rtc.channel: no")
}

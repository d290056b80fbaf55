package scheduler

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"refresher/internal/session"
)

// healthy checks the error of Health: there must be none if `want` is empty; otherwise the error must
// contain `want`.
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
		healthy(t, s, "no renewal for 3600 s")
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

// failingMinter mints like plainMinter, until a test calls its method fail.
type failingMinter struct{ err atomic.Pointer[error] }

func (m *failingMinter) fail(err error) { m.err.Store(&err) }

func (m *failingMinter) repair() { m.err.Store(nil) }

func (m *failingMinter) Mint(app string, id session.Identity, f session.Format, cause session.Cause, issuedAt, expiresAt session.UnixSec) (session.Tokens, error) {
	if err := m.err.Load(); err != nil {
		return session.Tokens{}, *err
	}
	return plainMinter{}.Mint(app, id, f, cause, issuedAt, expiresAt)
}

func TestHealthWhileTokensCannotBeMinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log, c := &failingMinter{}, &strings.Builder{}, testConfig(t)
		c.Minter, c.Logger = m, slog.New(slog.NewTextHandler(log, nil))
		s := start(t, c)
		joinedMany(t, s, 20, 10*time.Minute)
		m.fail(errGone)
		wait(9*time.Minute + 5*time.Second)
		healthy(t, s, "cannot be minted")
		m.repair()
		wait(2 * time.Second)
		healthy(t, s, "")
		failed := testutil.ToFloat64(s.metrics.errors)
		lines := strings.Count(log.String(), "renewal failed, trying again")
		// The renewals become due within about 30 s. Each renewal is tried again every second, and at most
		// one failure in ten seconds is logged.
		check(t, failed >= 40 && lines >= 2 && lines <= 8, "%v failures, %d lines", failed, lines)
		equal(t, "renewals", testutil.ToFloat64(s.metrics.renewals["acked"]), 20)
		m.fail(errGone)
		check(t, tryJoin(t.Context(), s) != nil, "joined without tokens")
		healthy(t, s, "cannot be minted")
		wait(failureHolds)
		healthy(t, s, "")
		m.fail(session.Errorf(session.CodeBadRequest, "rtc.channel: no"))
		wantCode(t, tryJoin(t.Context(), s), session.CodeBadRequest)
		healthy(t, s, "")
	})
}

// The histogram of the schedule counts each session by the time until its deadline, and a session is at
// risk while its tokens expire soon and its client has not confirmed new ones.
func TestOutlook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		registry := prometheus.NewRegistry()
		c.Registerer = registry
		s := start(t, c)
		joinedMany(t, s, 2, time.Hour)
		joinedDetached(t, s, 24*time.Hour)
		joinedSilent(t, s, 20*time.Second)
		seen := 0.0
		for range 500 {
			wait(2 * time.Second)
			now := s.clock.now()
			want := make(map[float64]uint64)
			atRisk := 0.0
			for _, e := range s.table.all(nil) {
				for _, span := range lookAhead {
					if e.session.Deadline()-now.Mono <= span {
						want[span.Seconds()]++
					}
				}
				if e.session.State() == session.Attached && e.session.Unconfirmed() && e.session.HeldExpires()-now.Mono < 30*time.Second {
					atRisk++
				}
			}
			families, err := registry.Gather()
			must(t, err)
			for _, f := range families {
				switch m := f.GetMetric()[0]; f.GetName() {
				case "refresher_sessions_at_risk":
					equal(t, "sessions at risk", m.GetGauge().GetValue(), atRisk)
					seen += atRisk
				case "refresher_schedule_due_seconds":
					for _, b := range m.GetHistogram().GetBucket() {
						equal(t, fmt.Sprintf("sessions due within %v s", b.GetUpperBound()), b.GetCumulativeCount(), want[b.GetUpperBound()])
					}
				}
			}
		}
		check(t, seen > 0, "no session was ever at risk")
	})
}

// Health fails if Run's loop stalls.
func TestHealthWhileRenewalsAreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := testConfig(t)
		c.Slots = 1
		s := start(t, c)
		joinedMany(t, s, 3, 10*time.Minute)
		s.workers.slots <- struct{}{} // takes the place of the only worker, so that no worker can start
		wait(8*time.Minute + 30*time.Second)
		healthy(t, s, "")
		wait(2 * time.Minute)
		healthy(t, s, "no renewal for")
		behind := s.table.behind(s.clock.now().Mono)
		check(t, behind >= 30*time.Second && behind <= 2*time.Minute, "%s behind", behind)
		<-s.workers.slots
		wait(time.Second)
		healthy(t, s, "")
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
		// the renewals become due within half a minute, but for 80 s the slow pushes keep all workers
		// busy
		wait(9*time.Minute + 15*time.Second)
		healthy(t, s, "s late")
		wait(5 * time.Minute)
		healthy(t, s, "")
	})
}

package hook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"refresher/internal/session"
)

// move is one step of a random run.
type move struct {
	After   time.Duration
	Mood    string // new behaviour of the back end; empty if the move is an approval request
	Action  session.Action
	Session string        // the requesting session; empty before the session has an id
	Within  time.Duration // deadline of the caller's context; 0 for none
}

func drawMove(t *rapid.T) move {
	m := move{After: time.Duration(rapid.IntRange(0, 1500).Draw(t, "after")*rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "pause")) * time.Millisecond}
	if rapid.IntRange(0, 5).Draw(t, "kind") == 0 {
		m.Mood = rapid.SampledFrom([]string{"good", "good", "slow", "hang", "down", "500", "busy", "forgetful"}).Draw(t, "mood")
		return m
	}
	m.Action = rapid.SampledFrom([]session.Action{session.ActionJoin, session.ActionRenew, session.ActionResume}).Draw(t, "action")
	m.Session = rapid.SampledFrom([]string{"", "1", "2", "3", "4", "5", "6"}).Draw(t, "session")
	if rapid.Bool().Draw(t, "deadline") {
		m.Within = time.Duration(rapid.IntRange(1, 1000).Draw(t, "within")) * time.Millisecond
	}
	return m
}

// moody is a back end whose behaviour changes. It remembers its decisions. Each decision has a reason that no other
// decision has, so the test can tell which decision a call has received.
type moody struct {
	mu    sync.Mutex
	mood  string             // guarded by mu
	given map[string]decided // guarded by mu
}

type decided struct {
	approvalRequest
	allow bool
	at    time.Time
}

func (b *moody) set(mood string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mood = mood
}

func (b *moody) answer(ctx context.Context, r *request) reply {
	b.mu.Lock()
	mood := b.mood
	said := decide(r, func(q approvalRequest) string {
		if mood == "forgetful" && q.Action == "renew" {
			return ""
		}
		d := decided{q, (len(b.given)+len(q.Session))%3 > 0, r.at}
		reason := fmt.Sprint(len(b.given))
		b.given[reason] = d
		return fmt.Sprintf(`"allow":%t,"reason":%q`, d.allow, reason)
	})
	b.mu.Unlock()
	switch mood {
	case "hang":
		return hang(ctx, r)
	case "down":
		return down(ctx, r)
	case "500":
		return reply{status: 500, body: said.body}
	case "busy":
		return reply{status: 429, retryAfter: "3"}
	case "slow":
		return after(400*time.Millisecond, func(context.Context, *request) reply { return said })(ctx, r)
	default:
		return said
	}
}

// In random runs, each call of Request returns in time, with an error or with its own answer, which the back end
// decided after the call began. No goroutine is left running after the run.
func TestAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		moves := rapid.SliceOfN(rapid.Custom(drawMove), 1, 60).Draw(rt, "moves")
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = play(t, moves) })
		if len(problems) > 0 {
			rt.Fatal(problems)
		}
	})
}

// play carries out the moves and returns which rules the Approval broke.
func play(t *testing.T, moves []move) (problems []string) {
	const patience = 2 * time.Second
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	h := newHarness(t)
	h.approval.endpoint.limits.atOnce, h.approval.limiter = 2, rate.NewLimiter(20, 2)
	h.approval.maxPending, h.approval.endpoint.limits.timeout, h.approval.patience = 5, 500*time.Millisecond, patience
	h.run()
	b := &moody{given: make(map[string]decided)}
	h.answer = b.answer
	type pending struct {
		move
		*call
		at time.Time
	}
	var all []pending
	for _, m := range moves {
		time.Sleep(m.After) // bubble
		if m.Mood != "" {
			b.set(m.Mood)
			continue
		}
		if m.Within == 0 {
			m.Within = time.Hour
		}
		ctx, cancel := context.WithTimeout(t.Context(), m.Within)
		defer cancel()
		all = append(all, pending{m, h.ask(ctx, approvalOf(m.Action, m.Session)), time.Now()})
	}
	for _, p := range all {
		<-p.done
		if p.after > min(patience, p.Within) {
			complain("%+v: took %s", p.move, p.after)
		}
		b.mu.Lock()
		d, known := b.given[p.answer.Reason]
		b.mu.Unlock()
		switch {
		case p.err != nil && p.answer != Answer{}:
			complain("%+v: an answer besides %v", p.move, p.err)
		case errors.Is(p.err, errMissing) && p.Action != session.ActionRenew && !strings.HasPrefix(p.err.Error(), "request suspended"):
			complain("%+v: %v", p.move, p.err)
		case p.err != nil:
		case !known || d.allow != p.answer.Allow || d.Session != p.Session || d.Action != string(p.Action):
			complain("%+v: got %+v, decided was %+v", p.move, p.answer, d)
		case d.at.Before(p.at):
			complain("%+v: decided %s before the request", p.move, p.at.Sub(d.at))
		}
	}
	if n := h.observed(); n[0]+n[1]+n[2] != float64(len(all)) {
		complain("%d requests, %v observed", len(all), n)
	}
	synctest.Wait()
	if h.approval.queue.len() != 0 || len(h.approval.queue.shared) != 0 || h.metric("refresher_authorize_waiting") != 0 {
		complain("%d are left", h.approval.queue.len())
	}
	if h.most > 2 {
		complain("%d batches at once", h.most)
	}
	// Once the back end has recovered and the circuit's wait is over, Request must succeed again.
	b.set("good")
	time.Sleep(time.Minute) // bubble
	if a := h.ask(t.Context(), approvalOf(session.ActionJoin, "last")); failures(a) != 0 {
		complain("after the recovery: %v", a.err)
	}
	h.stop()
	if running := h.approval.running; running != 0 {
		complain("%d batches are counted as in progress", running)
	}
	return problems
}

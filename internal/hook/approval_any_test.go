package hook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"refresher/internal/session"
)

// move is one step of a random run.
type move struct {
	After  time.Duration  // time since the previous move
	Mood   string         // new behaviour of the back end; empty for no change
	Action session.Action // the action of the approval request, if Mood is empty
	Name   int            // number of the requesting session
	Within time.Duration  // deadline of the caller's context; 0 for none
}

func drawMove(t *rapid.T) move {
	m := move{After: time.Duration(rapid.IntRange(0, 1500).Draw(t, "after")*rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "pause")) * time.Millisecond}
	if rapid.IntRange(0, 5).Draw(t, "kind") == 0 {
		m.Mood = rapid.SampledFrom([]string{"good", "good", "slow", "hang", "down", "500", "busy", "forgetful"}).Draw(t, "mood")
		return m
	}
	m.Action = rapid.SampledFrom([]session.Action{session.ActionJoin, session.ActionRenew, session.ActionResume}).Draw(t, "action")
	m.Name = rapid.IntRange(0, 6).Draw(t, "session")
	if rapid.Bool().Draw(t, "deadline") {
		m.Within = time.Duration(rapid.IntRange(1, 1000).Draw(t, "within")) * time.Millisecond
	}
	return m
}

// name returns the session's id; session 0 has none yet, so it is empty.
func (m *move) name() string {
	if m.Name == 0 {
		return ""
	}
	return fmt.Sprint(m.Name)
}

// decided records a decision that moody sent. Each has a unique Reason.
type decided struct {
	question asks
	allow    bool
	at       time.Time
}

type moody struct {
	mu    sync.Mutex
	mood  string             // guarded by mu
	given map[string]decided // guarded by mu; by Reason
}

func (b *moody) set(mood string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mood = mood
}

// find returns the decision with that reason.
func (b *moody) find(reason string) (d decided, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, known = b.given[reason]
	return d, known
}

func (b *moody) answer(ctx context.Context, r request) (reply, error) {
	b.mu.Lock()
	mood := b.mood
	said := decide(r, func(q asks) string {
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
		return reply{status: 500, body: said.body}, nil
	case "busy":
		return reply{status: 429, retryAfter: "3"}, nil
	case "slow":
		return after(400*time.Millisecond, func(context.Context, request) (reply, error) { return said, nil })(ctx, r)
	default:
		return said, nil
	}
}

// In random runs, each call of Request returns in time, with an error or with its own answer, which the back
// end decided after the call began. No goroutine is left behind.
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
	s := newApprovalStage(t, func(a *Approval) {
		atOnce(a, 2, 20)
		a.maxPending, a.endpoint.limits.timeout, a.patience = 5, 500*time.Millisecond, patience
	}).run()
	b := &moody{given: make(map[string]decided)}
	s.backEnd.answer = b.answer
	type pending struct {
		*move
		*asked
		at time.Time
	}
	var all []pending
	for i := range moves {
		m := &moves[i]
		time.Sleep(m.After) // bubble
		if m.Mood != "" {
			b.set(m.Mood)
			continue
		}
		ctx := t.Context()
		if m.Within > 0 {
			within, cancel := context.WithTimeout(ctx, m.Within)
			defer cancel()
			ctx = within
		}
		all = append(all, pending{m, s.askWith(ctx, question1(m.Action, m.name())), time.Now()})
	}
	for _, p := range all {
		<-p.done
		limit := patience
		if p.Within > 0 {
			limit = min(limit, p.Within)
		}
		if p.after > limit {
			complain("%+v: took %s", *p.move, p.after)
		}
		d, known := b.find(p.answer.Reason)
		switch {
		case p.err != nil && p.answer != Answer{}:
			complain("%+v: an answer besides %v", *p.move, p.err)
		case errors.Is(p.err, errMissing) && p.Action != session.ActionRenew:
			complain("%+v: %v", *p.move, p.err)
		case p.err != nil:
		case !known || d.allow != p.answer.Allow || d.question.Session != p.name() || d.question.Action != string(p.Action):
			complain("%+v: got %+v, decided was %+v", *p.move, p.answer, d)
		case d.at.Before(p.at):
			complain("%+v: decided %s before it was asked", *p.move, p.at.Sub(d.at))
		}
	}
	n := s.observed()
	if sum := n[0] + n[1] + n[2]; sum != uint64(len(all)) {
		complain("%d questions, %d observed", len(all), sum)
	}
	synctest.Wait()
	if left := s.approval.queue.len(); left != 0 || len(s.approval.queue.shared) != 0 || s.gauge("refresher_authorize_waiting") != 0 {
		complain("%d are left", left)
	}
	if s.backEnd.most > 2 {
		complain("%d requests at once", s.backEnd.most)
	}
	// Once the back end has recovered and the circuit's wait is over, Request must succeed again.
	b.set("good")
	time.Sleep(time.Minute) // bubble
	if a := s.ask(question1(session.ActionJoin, "last")); failures([]*asked{a}) != 0 {
		complain("after all: %v", a.err)
	}
	s.stop()
	if running := s.approval.running; running != 0 {
		complain("%d requests are counted as under way", running)
	}
	return problems
}

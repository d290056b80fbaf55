package authorize

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"

	"refresher/internal/panics"
	"refresher/internal/webhook"
)

const (
	// tripAfter is how many requests fail in a row before the endpoint counts
	// as failing.
	tripAfter = 5
	// maxWait bounds every wait after a failure: people want to join.
	maxWait = 30 * time.Second
	// maxAnswer is how many bytes an answer may have.
	maxAnswer = 1 << 20
)

// result is what came of one request.
type result struct {
	outcome outcome
	answers map[string]verdict // by id, see decode; if ok
	err     error              // why not ok; repeats no secret
	// retryAfter is how long the endpoint wants to be left alone; 0 if it
	// did not say.
	retryAfter time.Duration
}

// request asks for a batch and tells those who wait.
func (a *Asker) request(ctx context.Context, batch []*entry, t webhook.Ticket) {
	ids := a.newIDs(len(batch))
	r := a.post(inTrace(ctx, batch), ids[0], assemble(ids, batch))
	decided, unread := tally(r.answers, ids)
	if r.outcome == ok && decided == 0 {
		r = result{outcome: malformed, err: fmt.Errorf("the answer decides none of the questions: %w", unread)}
	}
	if r.outcome != ok && ctx.Err() != nil {
		r.err = errStopped // cut off by the end of Run; that says nothing of the endpoint
	} else {
		a.metrics.requested(r.outcome)
		a.finish(t, r)
	}
	if r.outcome == ok && unread != nil && !errors.Is(unread, errMissing) {
		a.log.unread(unread)
	}
	for i, e := range batch {
		if r.err != nil {
			e.settle(Answer{}, r.err)
			continue
		}
		v := verdictOn(r.answers, ids[i])
		e.settle(v.Answer, v.err)
	}
}

// verdictOn is what an answer says about the question with that id.
func verdictOn(answers map[string]verdict, id string) verdict {
	if v, there := answers[id]; there {
		return v
	}
	return verdict{err: errMissing}
}

// tally counts the questions that an answer decides. unread is the error of one that it
// does not decide; errMissing only if there is no other error.
func tally(answers map[string]verdict, ids []string) (decided int, unread error) {
	for _, id := range ids {
		switch v := verdictOn(answers, id); {
		case v.err == nil:
			decided++
		case unread == nil || errors.Is(unread, errMissing):
			unread = v.err
		}
	}
	return decided, unread
}

// inTrace has a request belong to the trace of the first of its questions that is
// traced. The others' are not told of it.
func inTrace(ctx context.Context, batch []*entry) context.Context {
	for _, e := range batch {
		if e.span.IsRecording() {
			return trace.ContextWithSpan(ctx, e.span)
		}
	}
	return ctx
}

// newIDs returns n ids that were never given before.
func (a *Asker) newIDs(n int) []string {
	last := a.ids.Add(uint64(n))
	ids := make([]string, n)
	for i := range ids {
		ids[i] = a.prefix + strconv.FormatUint(last-uint64(n-1-i), 10)
	}
	return ids
}

// finish tells the circuit what came of a request, and, if that opened it,
// everybody who waits.
func (a *Asker) finish(t webhook.Ticket, r result) {
	now := time.Now()
	var opened, closed bool
	var flushed []*entry
	a.mu.Lock()
	a.running--
	since := a.circuit.Since()
	if r.outcome == ok {
		closed = a.circuit.Succeeded(t)
	} else {
		opened = a.circuit.Failed(t, now, r.retryAfter, maxWait)
		if allowed, _ := a.circuit.Allows(now); !allowed {
			a.down = fmt.Errorf("not asked, since the endpoint is failing: %w", r.err)
			flushed = a.queue.takeAll()
		}
	}
	down := a.down
	a.mu.Unlock()
	signal(a.wake)
	for _, e := range flushed {
		e.settle(Answer{}, down)
	}
	if opened {
		a.log.failing(r.err)
	}
	if closed {
		a.log.recovered(now.Sub(since))
	}
}

// post makes one request. Its id is that of the first question in it, which no other
// request has.
func (a *Asker) post(ctx context.Context, id string, body []byte) (r result) {
	r.outcome = failed // if it panics
	defer a.config.Panics.Recover(panics.Hook, &r.err)
	ctx, cancel := context.WithTimeout(ctx, a.config.Timeout)
	defer cancel()
	response, err := a.endpoint.Post(ctx, id, body)
	if err != nil {
		return result{outcome: failed, err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode != http.StatusOK: // with a body or without
		return result{
			outcome: refused, err: fmt.Errorf("the endpoint answered %d", response.StatusCode),
			retryAfter: webhook.RetryAfter(response, time.Now(), maxWait),
		}
	case err != nil:
		return result{outcome: failed, err: fmt.Errorf("read the answer: %w", a.endpoint.Discreet(err))}
	case len(text) > maxAnswer:
		return result{outcome: malformed, err: fmt.Errorf("the answer has more than %d bytes", maxAnswer)}
	}
	answers, err := decode(text)
	if err != nil {
		return result{outcome: malformed, err: err}
	}
	return result{outcome: ok, answers: answers}
}

package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/trace"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// Question asks whether a session may do something. Fields that are empty are left out of
// what the back end reads, but for Action and App.
type Question struct {
	Action session.Action
	App    string // the App ID
	// Session is the session's id; empty if it has none yet. Questions without one are
	// never shared.
	Session  string
	Subject  string // who the credential names
	Identity session.Identity
}

// Answer is what the back end decided.
type Answer struct {
	Allow bool
	// Reason is the back end's own word for it: at most 200 bytes, printable; empty if it
	// gave none.
	Reason string
	// Until is the second to which it is allowed; zero if the back end did not say. It may
	// have passed.
	Until session.UnixSec
}

// encodeQuestion writes q as the back end reads it, without the id that begins it.
func encodeQuestion(q *Question) string {
	text, err := json.Marshal(struct {
		Action  session.Action `json:"action"`
		App     string         `json:"app"`
		Session string         `json:"session,omitempty"`
		Subject string         `json:"subject,omitempty"`
		protocol.Identity
	}{q.Action, q.App, q.Session, q.Subject, protocol.IdentityOf(q.Identity)})
	if err != nil {
		panic(err) // strings and numbers: no value of them leads here
	}
	return string(text)
}

// batch is one request, and what came of it.
type batch struct {
	questions []*pendingQuestion
	result    result
	err       error // why the result is not ok; repeats no secret
	unread    error // of a question that has no decision; errMissing only if there is no other
}

// encode writes the body of the request.
func (b *batch) encode() []byte {
	requests := make([]string, len(b.questions))
	for i, q := range b.questions {
		requests[i] = `{"id":"` + q.id + `",` + q.text[1:]
	}
	return []byte(`{"requests":[` + strings.Join(requests, ",") + `]}`)
}

// inTrace has the request belong to the trace of the first of its questions that is traced.
func (b *batch) inTrace(ctx context.Context) context.Context {
	for _, q := range b.questions {
		if q.span.IsRecording() {
			return trace.ContextWithSpan(ctx, q.span)
		}
	}
	return ctx
}

// decide reads what was decided on each question, and returns what came of the request.
func (b *batch) decide(a *answer) (result, error) {
	switch {
	case a.status == 0:
		return failed, a.err
	case a.status != http.StatusOK: // with a body or without
		return refused, fmt.Errorf("the endpoint answered %d", a.status)
	case a.err != nil:
		return failed, fmt.Errorf("read the answer: %w", a.err)
	case len(a.body) > maxAnswer:
		return malformed, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	decisions, err := decode(a.body)
	if err != nil {
		return malformed, err
	}
	decided := 0
	for _, q := range b.questions {
		d, there := decisions[q.id]
		if !there {
			d.err = errMissing
		}
		q.decision = d
		switch {
		case d.err == nil:
			decided++
		case b.unread == nil || errors.Is(b.unread, errMissing):
			b.unread = d.err
		}
	}
	if decided == 0 {
		return malformed, fmt.Errorf("the answer decides none of the questions: %w", b.unread)
	}
	return ok, nil
}

// decision is what an answer says about one question: the back end's decision, or, in err,
// why there is none that counts.
type decision struct {
	Answer
	err error
}

var (
	errNoDecisions = errors.New(`the answer is not of the form {"decisions":[…]}`)
	errMissing     = errors.New("the answer holds no decision on this question")
	errTwice       = errors.New("the answer holds more than one decision on this question")
	errForm        = errors.New(`the decision is not of the form {"id":"…","allow":true,"until":1800000000}`)
)

// decode reads the decisions of an answer by their ids. One that cannot be read, or that is
// there more than once, is an error for its question: a guess which of two counts could end
// a call. Errors do not repeat the text.
func decode(text []byte) (map[string]decision, error) {
	var body struct {
		Decisions []json.RawMessage `json:"decisions"`
	}
	if json.Unmarshal(text, &body) != nil || body.Decisions == nil {
		return nil, errNoDecisions
	}
	decisions := make(map[string]decision, min(len(body.Decisions), batchSize))
	for _, text := range body.Decisions {
		id, d := decodeOne(text)
		if _, twice := decisions[id]; twice {
			d = decision{err: errTwice}
		}
		decisions[id] = d
	}
	return decisions, nil
}

func decodeOne(text []byte) (id string, d decision) {
	var body struct {
		ID     string          `json:"id"`
		Allow  *bool           `json:"allow"`
		Reason string          `json:"reason"`
		Until  session.UnixSec `json:"until"`
	}
	// A member of the wrong type leaves the others, so the id is known.
	if err := json.Unmarshal(text, &body); err != nil || body.Allow == nil {
		return body.ID, decision{err: errForm}
	}
	if !*body.Allow { // until has no meaning in a denial, so it is not checked
		return body.ID, decision{Answer: Answer{Reason: clip(body.Reason)}}
	}
	if err := body.Until.Check(); err != nil {
		return body.ID, decision{err: fmt.Errorf("the decision's until: %w", err)}
	}
	return body.ID, decision{Answer: Answer{Allow: true, Reason: clip(body.Reason), Until: body.Until}}
}

// maxReason is how many bytes of a reason are kept.
const maxReason = 200

// clip makes text short and printable, for logs.
func clip(text string) string {
	if len(text) > maxReason {
		cut := maxReason
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

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

// Request is an approval request: it asks whether a session may do Action. The JSON omits empty fields,
// except Action and App.
type Request struct {
	Action session.Action
	App    string // Agora's App ID
	// Session is the session's id, or empty before the session has one. Requests without an id are never merged with
	// equal requests in the queue.
	Session  string
	Subject  string // subject of the client's credential
	Identity session.Identity
}

// Answer is the back end's decision on a Request.
type Answer struct {
	Allow bool
	// Reason is the back end's reason: at most 200 bytes, printable; empty if the answer had no reason.
	Reason string
	// Until is when the approval ends; 0 if the back end set no limit. It may be in the past.
	Until session.UnixSec
}

// encodeRequest encodes q as JSON. The id is missing; batch.encode adds it.
func encodeRequest(q *Request) string {
	text, err := json.Marshal(struct {
		Action  session.Action `json:"action"`
		App     string         `json:"app"`
		Session string         `json:"session,omitempty"`
		Subject string         `json:"subject,omitempty"`
		protocol.Identity
	}{q.Action, q.App, q.Session, q.Subject, protocol.IdentityOf(q.Identity)})
	if err != nil {
		panic(err) // impossible: strings and numbers can always be encoded
	}
	return string(text)
}

// batch is one HTTP request that carries several approval requests, and its result.
type batch struct {
	approvals []*pendingApproval
	result    result
	err       error // why the batch failed; nil if its result is ok; contains no secret
	unread    error // why some request has no decision; an error other than errMissing takes precedence
}

// encode returns the body of the HTTP request.
func (b *batch) encode() []byte {
	requests := make([]string, len(b.approvals))
	for i, q := range b.approvals {
		requests[i] = `{"id":"` + q.id + `",` + q.text[1:]
	}
	return []byte(`{"requests":[` + strings.Join(requests, ",") + `]}`)
}

// inTrace returns ctx with the span of the first traced approval request, so that the HTTP request becomes
// part of that trace.
func (b *batch) inTrace(ctx context.Context) context.Context {
	for _, q := range b.approvals {
		if q.span.IsRecording() {
			return trace.ContextWithSpan(ctx, q.span)
		}
	}
	return ctx
}

// decide sets each approval request's decision from the answer, and returns the result of the batch.
func (b *batch) decide(a *answer) (result, error) {
	switch {
	case a.status == 0:
		return failed, a.err
	case a.status != http.StatusOK: // an answer with another status counts as refused, even if its body could not be read
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
	for _, q := range b.approvals {
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
		return malformed, fmt.Errorf("the answer decides none of the requests: %w", b.unread)
	}
	return ok, nil
}

// decision is the answer to one approval request; err says why there is no answer.
type decision struct {
	Answer
	err error
}

var (
	errNoDecisions = errors.New(`the answer is not of the form {"decisions":[…]}`)
	errMissing     = errors.New("the answer has no decision for this request")
	errTwice       = errors.New("the answer has more than one decision for this request")
	errForm        = errors.New(`the decision is not of the form {"id":"…","allow":true,"until":1800000000}`)
)

// decode returns the decisions of an answer by request id. A decision that is malformed or appears twice
// becomes an error for its request: a wrong guess could end a call. Errors contain no text of the answer.
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
	// If a field has the wrong type, Unmarshal still sets the other fields, so id is usable.
	if err := json.Unmarshal(text, &body); err != nil || body.Allow == nil {
		return body.ID, decision{err: errForm}
	}
	if !*body.Allow { // `until` is ignored in a denial, even if it is malformed
		return body.ID, decision{Answer: Answer{Reason: clip(body.Reason)}}
	}
	if err := body.Until.Check(); err != nil {
		return body.ID, decision{err: fmt.Errorf("the decision's until: %w", err)}
	}
	return body.ID, decision{Answer: Answer{Allow: true, Reason: clip(body.Reason), Until: body.Until}}
}

// maxReason is the length in bytes to which clip cuts a reason.
const maxReason = 200

// clip cuts text to maxReason bytes and replaces unprintable characters, so that the text can be logged.
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

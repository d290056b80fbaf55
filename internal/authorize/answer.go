package authorize

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"refresher/internal/session"
)

// maxReason is how many bytes of a reason are kept.
const maxReason = 200

// Answer is what the back end decided.
type Answer struct {
	Allow bool
	// Reason is the back end's own word for it: at most 200 bytes, printable;
	// empty if it gave none.
	Reason string
	// Until is the second to which it is allowed; zero if the back end
	// did not say. It may have passed.
	Until session.UnixSec
}

// decision is an Answer on the wire.
type decision struct {
	ID     string          `json:"id"`
	Allow  *bool           `json:"allow"`
	Reason string          `json:"reason"`
	Until  session.UnixSec `json:"until"`
}

// verdict is what an answer says about one question: the back end's decision, or, in
// err, why there is none that counts.
type verdict struct {
	Answer
	err error
}

var (
	errNoDecisions = errors.New(`the answer is not of the form {"decisions":[…]}`)
	errMissing     = errors.New("the answer holds no decision on this question")
	errTwice       = errors.New("the answer holds more than one decision on this question")
	errForm        = errors.New(`the decision is not of the form {"id":"…","allow":true,"until":1800000000}`)
)

// decode reads the decisions of an answer by their ids. One that cannot be read, or
// that is there more than once, is an error for its question: a guess which of two
// counts could end a call. Errors do not repeat the text.
func decode(text []byte) (map[string]verdict, error) {
	var body struct {
		Decisions []json.RawMessage `json:"decisions"`
	}
	if json.Unmarshal(text, &body) != nil || body.Decisions == nil {
		return nil, errNoDecisions
	}
	verdicts := make(map[string]verdict, min(len(body.Decisions), batchSize))
	for _, text := range body.Decisions {
		var d decision
		// A member of the wrong type leaves the others, so the id is known.
		v := verdict{err: json.Unmarshal(text, &d)}
		_, twice := verdicts[d.ID]
		switch {
		case twice:
			v.err = errTwice
		case v.err != nil || d.Allow == nil:
			v.err = errForm
		case !*d.Allow: // until has no meaning in a denial, so it is not checked
			v.Answer = Answer{Reason: clip(d.Reason)}
		default:
			v = allowed(&d)
		}
		verdicts[d.ID] = v
	}
	return verdicts, nil
}

// allowed is the verdict of a decision that allows something.
func allowed(d *decision) verdict {
	if err := d.Until.Check(); err != nil {
		return verdict{err: fmt.Errorf("the decision's until: %w", err)}
	}
	return verdict{Answer: Answer{Allow: true, Reason: clip(d.Reason), Until: d.Until}}
}

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

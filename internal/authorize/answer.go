package authorize

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReason is how many bytes of a reason are kept.
const maxReason = 200

// Answer is what the back end decided.
type Answer struct {
	Allow bool
	// Reason is the back end's own word for it: at most 200 bytes, printable;
	// empty if it gave none.
	Reason string
	// Until is the Unix second to which it is allowed; zero if the back end
	// did not say. It may have passed.
	Until int64
}

// decision is an Answer on the wire.
type decision struct {
	ID     string `json:"id"`
	Allow  *bool  `json:"allow"`
	Reason string `json:"reason"`
	Until  int64  `json:"until"`
}

var errNoDecisions = errors.New(`the answer is not of the form {"decisions":[…]}`)

// decode reads the decisions of an answer by their ids. One that cannot be read
// is left out; one that is there more than once is nil, since which one counts
// is a guess, and a denial must not be one. The error does not repeat the text.
func decode(text []byte) (map[string]*Answer, error) {
	var body struct {
		Decisions []json.RawMessage `json:"decisions"`
	}
	if json.Unmarshal(text, &body) != nil || body.Decisions == nil {
		return nil, errNoDecisions
	}
	answers := make(map[string]*Answer, min(len(body.Decisions), batchSize))
	for _, text := range body.Decisions {
		var d decision
		if json.Unmarshal(text, &d) != nil || d.Allow == nil || d.Until < 0 {
			continue
		}
		if _, twice := answers[d.ID]; twice {
			answers[d.ID] = nil
			continue
		}
		a := Answer{Allow: *d.Allow, Reason: clip(d.Reason)}
		if a.Allow {
			a.Until = d.Until
		}
		answers[d.ID] = &a
	}
	return answers, nil
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

package hook

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecode(t *testing.T) {
	allowed := decision{Answer: Answer{Allow: true}}
	errMs := errors.New("the decision's until: want Unix seconds; this looks like milliseconds")
	for name, c := range map[string]struct {
		decisions string
		want      map[string]decision
	}{
		"good": {`{"id":"1","allow":true,"until":1800000000},{"id":"2","allow":false,"reason":"no credit","more":1}`, map[string]decision{
			"1": {Answer: Answer{Allow: true, Until: 1800000000}}, "2": {Answer: Answer{Reason: "no credit"}},
		}},
		"none":                  {``, map[string]decision{}},
		"a denial has no until": {`{"id":"1","allow":false,"until":5},{"id":"2","allow":false,"until":1800000000000},{"id":"3","allow":false,"until":-1}`, map[string]decision{"1": {}, "2": {}, "3": {}}},
		"twice":                 {`{"id":"1","allow":false},{"id":"1","allow":true},{"id":"1","allow":true}`, map[string]decision{"1": {err: errTwice}}},
		"broken, and once more": {`{"id":"1","allow":0},{"id":"1","allow":true}`, map[string]decision{"1": {err: errTwice}}},
		"without allow":         {`{"id":"1"},{"id":"2","allow":null},{"id":"3","allow":true}`, map[string]decision{"1": {err: errForm}, "2": {err: errForm}, "3": allowed}},
		"not a bool":            {`{"id":"1","allow":"false"},{"id":"2","allow":0},{"id":"3","allow":false}`, map[string]decision{"1": {err: errForm}, "2": {err: errForm}, "3": {}}},
		"not an object":         {`null,7,"x",{"id":"3","allow":true}`, map[string]decision{"": {err: errTwice}, "3": allowed}},
		"bad until":             {`{"id":"1","allow":true,"until":-1},{"id":"2","allow":true,"until":"soon"}`, map[string]decision{"1": {err: errors.New("the decision's until: want Unix seconds")}, "2": {err: errForm}}},
		"until in milliseconds": {`{"id":"1","allow":true,"until":253402300800},{"id":"2","allow":true,"until":253402300799}`, map[string]decision{
			"1": {err: errMs}, "2": {Answer: Answer{Allow: true, Until: 253402300799}},
		}},
		"bad reason": {`{"id":"1","allow":false,"reason":{}}`, map[string]decision{"1": {err: errForm}}},
	} {
		got, err := decode([]byte(`{"decisions":[` + c.decisions + `],"more":1}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		byText := cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(decision{}), byText); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, text := range []string{"", `{}`, `{"decisions":null}`, `{"decisions":{"1":true}}`, `{"decisions":[]} x`, `<html>`} {
		if got, err := decode([]byte(text)); !errors.Is(err, errNoDecisions) || got != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestDecide(t *testing.T) {
	ofB := func(decisions string) answer {
		return answer{status: 200, body: []byte(`{"decisions":[{"id":"a","allow":true}` + decisions + `]}`)}
	}
	longest := ofB(`,{"id":"b","allow":true}`)
	longest.body = append(longest.body, strings.Repeat(" ", maxAnswer-len(longest.body))...)
	tooLong := answer{status: 200, body: append(longest.body, ' ')}
	for name, c := range map[string]struct {
		answer answer
		want   result
		err    string // error of the batch
		errB   error  // error of request b, if the batch has no error
		unread error
	}{
		"no answer":            {answer{err: errRefused}, failed, "connection refused", nil, nil},
		"half an answer":       {answer{status: 200, err: io.ErrUnexpectedEOF}, failed, "read the answer: unexpected EOF", nil, nil},
		"refused":              {answer{status: 403, body: longest.body}, refused, "the endpoint answered 403", nil, nil},
		"refused, then broken": {answer{status: 401, err: io.ErrUnexpectedEOF}, refused, "the endpoint answered 401", nil, nil},
		"no content":           {answer{status: 204}, refused, "the endpoint answered 204", nil, nil},
		"longest":              {longest, ok, "", nil, nil},
		"too long":             {tooLong, malformed, "the answer has more than 1048576 bytes", nil, nil},
		"not JSON":             {answer{status: 200, body: []byte("<html>")}, malformed, errNoDecisions.Error(), nil, nil},
		"of other requests": {
			answer{status: 200, body: []byte(`{"decisions":[{"id":"x","allow":false}]}`)},
			malformed, "the answer decides none of the requests: " + errMissing.Error(), nil, errMissing,
		},
		"missing first": {
			answer{status: 200, body: []byte(`{"decisions":[{"id":"b"}]}`)},
			malformed, "the answer decides none of the requests: " + errForm.Error(), nil, errForm,
		},
		"missing last": {
			answer{status: 200, body: []byte(`{"decisions":[{"id":"a"}]}`)},
			malformed, "the answer decides none of the requests: " + errForm.Error(), nil, errForm,
		},
		"b missing":   {ofB(""), ok, "", errMissing, errMissing},
		"b malformed": {ofB(`,{"id":"b"}`), ok, "", errForm, errForm},
		"b twice":     {ofB(`,{"id":"b","allow":true},{"id":"b","allow":true}`), ok, "", errTwice, errTwice},
	} {
		a, b := &pendingApproval{id: "a"}, &pendingApproval{id: "b"}
		batch := &batch{approvals: []*pendingApproval{a, b}}
		got, err := batch.decide(&c.answer)
		if got != c.want || (err != nil || c.err != "") && fmt.Sprint(err) != c.err || batch.unread != c.unread { //nolint:errorlint // these very errors
			t.Errorf("%s: %s, %v, unread %v", name, got, err, batch.unread)
		}
		if err == nil && (a.err != nil || !a.Allow || b.err != c.errB || b.Allow != (c.errB == nil)) { //nolint:errorlint // these very errors
			t.Errorf("%s: %+v, %+v", name, a.decision, b.decision)
		}
	}
}

func TestClip(t *testing.T) {
	long := strings.Repeat("é", 150) // é takes two bytes
	for text, want := range map[string]string{
		"":                       "",
		"über Maß":               "über Maß",
		"a\nb\x1b[31m\u202e":     "a b [31m ",
		strings.Repeat("x", 200): strings.Repeat("x", 200),
		strings.Repeat("x", 201): strings.Repeat("x", 200),
		long:                     long[:200],
		"x" + long:               "x" + long[:198],
	} {
		if got := clip(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

package hook

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestDecode(t *testing.T) {
	allowed := decision{Answer: Answer{Allow: true}}
	errMs := errors.New("the decision's until: want Unix seconds; this looks like milliseconds")
	for name, c := range map[string]struct {
		text string
		want map[string]decision // nil means that decode must return an error
	}{
		"good": {`{"decisions":[{"id":"1","allow":true,"until":1800000000},{"id":"2","allow":false,"reason":"no credit"}],"more":1}`, map[string]decision{
			"1": {Answer: Answer{Allow: true, Until: 1800000000}}, "2": {Answer: Answer{Reason: "no credit"}},
		}},
		"none":                  {`{"decisions":[]}`, map[string]decision{}},
		"a denial has no until": {`{"decisions":[{"id":"1","allow":false,"until":5},{"id":"2","allow":false,"until":1800000000000},{"id":"3","allow":false,"until":-1}]}`, map[string]decision{"1": {}, "2": {}, "3": {}}},
		"twice":                 {`{"decisions":[{"id":"1","allow":false},{"id":"1","allow":true},{"id":"1","allow":true}]}`, map[string]decision{"1": {err: errTwice}}},
		"broken, and once more": {`{"decisions":[{"id":"1","allow":0},{"id":"1","allow":true}]}`, map[string]decision{"1": {err: errTwice}}},
		"without allow":         {`{"decisions":[{"id":"1"},{"id":"2","allow":null},{"id":"3","allow":true}]}`, map[string]decision{"1": {err: errForm}, "2": {err: errForm}, "3": allowed}},
		"not a bool":            {`{"decisions":[{"id":"1","allow":"false"},{"id":"2","allow":0},{"id":"3","allow":false}]}`, map[string]decision{"1": {err: errForm}, "2": {err: errForm}, "3": {}}},
		"not an object":         {`{"decisions":[null,7,"x",{"id":"3","allow":true}]}`, map[string]decision{"": {err: errTwice}, "3": allowed}},
		"bad until":             {`{"decisions":[{"id":"1","allow":true,"until":-1},{"id":"2","allow":true,"until":"soon"},{"id":"3","allow":true,"until":1.5}]}`, map[string]decision{"1": {err: errors.New("the decision's until: want Unix seconds")}, "2": {err: errForm}, "3": {err: errForm}}},
		"until in milliseconds": {`{"decisions":[{"id":"1","allow":true,"until":1800000000000},{"id":"2","allow":true,"until":253402300800},{"id":"3","allow":true,"until":253402300799}]}`, map[string]decision{
			"1": {err: errMs}, "2": {err: errMs}, "3": {Answer: Answer{Allow: true, Until: 253402300799}},
		}},
		"bad reason":   {`{"decisions":[{"id":"1","allow":false,"reason":{}}]}`, map[string]decision{"1": {err: errForm}}},
		"no list":      {`{}`, nil},
		"null":         {`{"decisions":null}`, nil},
		"another form": {`{"decisions":{"1":true}}`, nil},
		"a list":       {`[{"id":"1","allow":true}]`, nil},
		"bare":         {`true`, nil},
		"more behind":  {`{"decisions":[]} x`, nil},
		"not JSON":     {`<html>scott</html>`, nil},
		"cut off":      {`{"decisions":[{"id":"1","allow":true}`, nil},
		"empty":        {``, nil},
	} {
		got, err := decode([]byte(c.text))
		if (err != nil) != (c.want == nil) {
			t.Errorf("%s: error %v", name, err)
		}
		byText := cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(decision{}), byText); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestClip(t *testing.T) {
	long := strings.Repeat("é", 150) // é takes two bytes
	for text, want := range map[string]string{
		"":                              "",
		"no credit":                     "no credit",
		"über Maß":                      "über Maß",
		"a\nb\x1b[31m\u202e":            "a b [31m ",
		strings.Repeat("x", 200):        strings.Repeat("x", 200),
		strings.Repeat("x", 201):        strings.Repeat("x", 200),
		long:                            long[:200],
		"x" + long:                      "x" + long[:198],
		strings.Repeat("x", 199) + "日本": strings.Repeat("x", 199),
	} {
		if got := clip(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// FuzzDecode checks that decode never panics, that decisions are within the limits, and that only
// "allow": false is a denial.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"decisions":[{"id":"1","allow":true,"until":1800000000},{"id":"2","allow":false,"reason":"no\ncredit"}]}`))
	f.Add([]byte(`{"decisions":[{"id":"1","allow":false},{"id":"1","Allow":true},null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		answers, err := decode(text)
		if (err == nil) != (answers != nil) {
			t.Fatalf("error %v, answers %v", err, answers)
		}
		for id, a := range answers {
			if a.err != nil {
				if a.Answer != (Answer{}) {
					t.Errorf("%s: an answer beside %v", id, a.err)
				}
				continue
			}
			if len(a.Reason) > maxReason || !utf8.ValidString(a.Reason) || strings.ContainsFunc(a.Reason, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s: reason %q", id, a.Reason)
			}
			if a.Until < 0 || !a.Allow && (a.Until != 0 || !strings.Contains(string(text), "false")) {
				t.Errorf("%s: %+v", id, a)
			}
		}
	})
}

package authorize

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want map[string]*Answer // nil: an error
	}{
		"good": {`{"decisions":[{"id":"1","allow":true,"until":1800000000},{"id":"2","allow":false,"reason":"no credit"}],"more":1}`, map[string]*Answer{
			"1": {Allow: true, Until: 1800000000}, "2": {Reason: "no credit"},
		}},
		"none":                  {`{"decisions":[]}`, map[string]*Answer{}},
		"a denial has no until": {`{"decisions":[{"id":"1","allow":false,"until":5}]}`, map[string]*Answer{"1": {}}},
		"twice":                 {`{"decisions":[{"id":"1","allow":false},{"id":"1","allow":true},{"id":"1","allow":true}]}`, map[string]*Answer{"1": nil}},
		"without allow":         {`{"decisions":[{"id":"1"},{"id":"2","allow":null},{"id":"3","allow":true}]}`, map[string]*Answer{"3": {Allow: true}}},
		"not a bool":            {`{"decisions":[{"id":"1","allow":"false"},{"id":"2","allow":0},{"id":"3","allow":false}]}`, map[string]*Answer{"3": {}}},
		"not an object":         {`{"decisions":[null,7,"x",{"id":"3","allow":true}]}`, map[string]*Answer{"3": {Allow: true}}},
		"bad until":             {`{"decisions":[{"id":"1","allow":true,"until":-1},{"id":"2","allow":true,"until":"soon"},{"id":"3","allow":true,"until":1.5}]}`, map[string]*Answer{}},
		"bad reason":            {`{"decisions":[{"id":"1","allow":false,"reason":{}}]}`, map[string]*Answer{}},
		"no list":               {`{}`, nil},
		"null":                  {`{"decisions":null}`, nil},
		"another form":          {`{"decisions":{"1":true}}`, nil},
		"a list":                {`[{"id":"1","allow":true}]`, nil},
		"bare":                  {`true`, nil},
		"more behind":           {`{"decisions":[]} x`, nil},
		"not JSON":              {`<html>scott</html>`, nil},
		"cut off":               {`{"decisions":[{"id":"1","allow":true}`, nil},
		"empty":                 {``, nil},
	} {
		got, err := decode([]byte(c.text))
		if (err != nil) != (c.want == nil) {
			t.Errorf("%s: error %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestClip(t *testing.T) {
	long := strings.Repeat("é", 150) // two bytes each
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

// FuzzDecode: nothing panics, what is kept is within bounds, and nobody is
// denied without the word for it.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"decisions":[{"id":"1","allow":true,"until":1800000000},{"id":"2","allow":false,"reason":"no\ncredit"}]}`))
	f.Add([]byte(`{"decisions":[{"id":"1","allow":false},{"id":"1","Allow":true},null]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		answers, err := decode(text)
		if (err == nil) != (answers != nil) {
			t.Fatalf("error %v, answers %v", err, answers)
		}
		for id, a := range answers {
			if a == nil {
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

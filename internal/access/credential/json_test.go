package credential

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// Objects and lists are taken apart as encoding/json does it.
func TestReadersAgree(t *testing.T) {
	value := rapid.Custom(func(t *rapid.T) any { return drawJSON(t, 3) })
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.MapOf(rapid.String(), value).Draw(t, "members")
		text := must(json.Marshal(members))
		if rapid.Bool().Draw(t, "spaced") {
			text = append([]byte(" \n"), must(json.MarshalIndent(members, "\r", "\t "))...)
		}
		got, err := readDocument(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, map[string]json.RawMessage(got)); diff != "" {
			t.Fatal(diff)
		}
		for _, raw := range got {
			var list []json.RawMessage
			err := json.Unmarshal(raw, &list)
			entries, refused := readList(raw)
			if (err == nil && list != nil) != (refused == nil) || !cmp.Equal(list, entries, cmpopts.EquateEmpty()) {
				t.Fatalf("%s: have %s, %v, want %s, %v", raw, entries, refused, list, err)
			}
			var s *string
			err = json.Unmarshal(raw, &s)
			text, refused := readString(raw)
			if (err == nil && s != nil) != (refused == nil) || refused == nil && text != *s {
				t.Fatalf("%s: have %q, %v", raw, text, refused)
			}
		}
	})
}

func drawJSON(t *rapid.T, depth int) any {
	kinds := 4
	if depth > 0 {
		kinds = 6
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.String().Draw(t, "string")
	case 1:
		return rapid.Float64Range(-1e9, 1e9).Draw(t, "number")
	case 2:
		return rapid.Bool().Draw(t, "bool")
	case 3:
		return nil
	case 4:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "entries") {
			list = append(list, drawJSON(t, depth-1))
		}
		return list
	default:
		object := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			object[rapid.String().Draw(t, "name")] = drawJSON(t, depth-1)
		}
		return object
	}
}

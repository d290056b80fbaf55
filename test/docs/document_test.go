package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

type object = map[string]any

// document is asyncapi.yaml or openapi.yaml, with a compiler for its schemas. It is safe for
// concurrent use.
type document struct {
	name string
	root object
	text *yaml.Node // the same document as YAML, which keeps the order of its fields

	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

var (
	asyncAPI = sync.OnceValue(func() *document { return readDocument("asyncapi.yaml", jsonschema.Draft7) })
	openAPI  = sync.OnceValue(func() *document { return readDocument("openapi.yaml", jsonschema.Draft2020) })
)

// readDocument panics if it cannot read the document, since no test can continue then.
func readDocument(name string, draft *jsonschema.Draft) *document {
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		panic(err)
	}
	var content any
	node := new(yaml.Node)
	if err := errors.Join(yaml.Unmarshal(text, &content), yaml.Unmarshal(text, node)); err != nil {
		panic(fmt.Errorf("%s: %w", name, err))
	}
	asJSON, err := json.Marshal(content)
	if err != nil {
		panic(fmt.Errorf("%s: %w", name, err))
	}
	d := &document{name: name, root: parse(asJSON).(object), text: node, compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(draft)
	if err := d.compiler.AddResource(name, d.root); err != nil {
		panic(fmt.Errorf("%s: %w", name, err))
	}
	return d
}

// parse decodes JSON. Numbers become a json.Number, as the schemas need.
func parse(text []byte) any {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		panic(fmt.Errorf("%s: %w", text, err))
	}
	return value
}

// at returns the object at a JSON pointer. It follows references.
func (d *document) at(pointer string) object {
	value := d.root
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		next, ok := value[part].(object)
		if !ok {
			panic(fmt.Errorf("%s: nothing at %s", d.name, pointer))
		}
		value = d.follow(next)
	}
	return value
}

func (d *document) follow(value object) object {
	if ref, ok := value["$ref"].(string); ok {
		return d.at(strings.TrimPrefix(ref, "#"))
	}
	return value
}

// children returns the objects within the object at a JSON pointer. It follows references.
func (d *document) children(pointer string) map[string]object {
	children := make(map[string]object)
	for name, value := range d.at(pointer) {
		if o, ok := value.(object); ok {
			children[name] = d.follow(o)
		}
	}
	return children
}

func (d *document) check(pointer string, value any) error {
	d.mu.Lock()
	schema, err := d.compiler.Compile(d.name + "#" + pointer)
	d.mu.Unlock()
	if err != nil {
		panic(fmt.Errorf("%s: %w", d.name, err))
	}
	return schema.Validate(value)
}

// values returns the elements of a list as texts, sorted.
func values(list any) []string {
	var s []string
	for _, v := range anyList(list) {
		s = append(s, fmt.Sprint(v))
	}
	slices.Sort(s)
	return s
}

func anyList(list any) []any {
	l, _ := list.([]any)
	return l
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

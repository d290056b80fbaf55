package docs

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type operation struct {
	path, method string
	pointer      string
	item         object // the part of openapi.yaml about the request's path
	spec         object
}

func (o operation) String() string { return o.method + " " + o.path }

func (o operation) private() bool { return o.item["servers"] != nil }

func operations() []operation {
	var all []operation
	for path, item := range openAPI().children("/paths") {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"} {
			pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path) + "/" + strings.ToLower(method)
			if spec, ok := item[strings.ToLower(method)].(object); ok {
				all = append(all, operation{path, method, pointer, item, spec})
			}
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// find returns the operation that a request asks for, and the parameters in the request's path.
func find(method, path string) (operation, map[string]string) {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
	for _, o := range operations() {
		pattern := strings.Split(strings.TrimPrefix(o.path, "/"), "/")
		if o.method != method || len(pattern) != len(parts) {
			continue
		}
		args := make(map[string]string)
		fits := true
		for i, p := range pattern {
			if name, ok := strings.CutPrefix(p, "{"); ok {
				args[strings.TrimSuffix(name, "}")], _ = url.PathUnescape(parts[i])
			} else if p != parts[i] {
				fits = false
			}
		}
		if fits {
			return o, args
		}
	}
	return operation{}, nil
}

// valid returns the error of the schemas of openapi.yaml for a request, or nil if they allow it.
func (o operation) valid(args map[string]string, query url.Values, body string) error {
	for i, p := range anyList(o.item["parameters"]) {
		pointer := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(o.path) + "/parameters/" + strconv.Itoa(i)
		if ref, ok := p.(object)["$ref"].(string); ok {
			pointer = strings.TrimPrefix(ref, "#")
		}
		parameter := openAPI().follow(p.(object))
		name := fmt.Sprint(parameter["name"])
		text, given := args[name]
		if parameter["in"] == "query" {
			text, given = query.Get(name), query.Has(name)
		}
		if !given {
			if parameter["required"] == true {
				return fmt.Errorf("%s has no %s", o.path, name)
			}
			continue
		}
		var value any = text
		if openAPI().follow(parameter["schema"].(object))["type"] == "integer" {
			if _, err := strconv.ParseInt(text, 10, 64); err == nil {
				value = json.Number(text)
			}
		}
		if err := openAPI().check(pointer+"/schema", value); err != nil {
			return err
		}
	}
	if o.spec["requestBody"] == nil || body == "" && openAPI().at(o.pointer + "/requestBody")["required"] != true {
		return nil
	}
	if !json.Valid([]byte(body)) {
		return fmt.Errorf("no JSON")
	}
	return openAPI().check(o.pointer+"/requestBody/content/application~1json/schema", parse([]byte(body)))
}

func (o operation) answered(t *testing.T, r reply) {
	t.Helper()
	response, ok := o.spec["responses"].(object)[strconv.Itoa(r.status)].(object)
	if !ok {
		t.Errorf("%s: status %d is not documented: %s", o, r.status, r.body)
		return
	}
	pointer := o.pointer + "/responses/" + strconv.Itoa(r.status)
	if ref, ok := response["$ref"].(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
	}
	content, some := openAPI().at(pointer)["content"].(object)
	if !some {
		if len(r.body) > 0 {
			t.Errorf("%s: %d has a body, %s", o, r.status, r.body)
		}
		return
	}
	kind, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	if err != nil {
		t.Errorf("%s: %v", o, err)
	}
	if content[kind] == nil || len(content) != 1 {
		t.Errorf("%s: %d is %s, documented as %v", o, r.status, kind, names(content))
		return
	}
	var value any = string(r.body)
	if kind == "application/json" {
		value = parse(r.body)
		if r.status >= 400 && fmt.Sprint(value.(object)["status"]) != strconv.Itoa(r.status) {
			t.Errorf("%s: %d says %s", o, r.status, r.body)
		}
	}
	if err := openAPI().check(pointer+"/content/"+strings.ReplaceAll(kind, "/", "~1")+"/schema", value); err != nil {
		t.Errorf("%s: openapi.yaml refuses %s: %v", o, r.body, err)
	}
	headers, _ := openAPI().at(pointer)["headers"].(object)
	for name, header := range headers {
		if openAPI().follow(header.(object))["required"] == true && r.header.Get(name) == "" {
			t.Errorf("%s: %d has no %s", o, r.status, name)
		}
	}
}

// tag returns the tag of an operation: classic, sessions, operators or probes.
func (o operation) tag() string { return values(o.spec["tags"])[0] }

// access returns the name of the security scheme that an operation requires, or "" if it requires none.
func (o operation) access() string {
	for _, s := range anyList(o.spec["security"]) {
		return names(s.(object))[0]
	}
	return ""
}

func (o operation) examples() (bodies []string) {
	if o.spec["requestBody"] == nil {
		return nil
	}
	content := openAPI().at(o.pointer + "/requestBody/content/application~1json")
	if content["example"] != nil {
		bodies = append(bodies, asJSON(content["example"]))
	}
	examples, _ := content["examples"].(object)
	for _, name := range names(examples) {
		bodies = append(bodies, asJSON(examples[name].(object)["value"]))
	}
	return bodies
}

func (o operation) sample() (path, body string) {
	for i, part := range strings.Split(strings.TrimPrefix(o.path, "/"), "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			part = map[string]string{"channel": "daily", "role": "publisher", "tokentype": "uid", "uid": "1001", "rtmuid": "ana", "id": "X"}[strings.TrimSuffix(name, "}")]
		}
		if path += "/" + part; i == 0 && part == "" {
			path = "/"
		}
	}
	if bodies := o.examples(); len(bodies) > 0 {
		body = bodies[0]
	}
	return path, body
}

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

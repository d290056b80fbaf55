package docs

import (
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// constants returns the values of string constants in the files that match `pattern`. The constants' names begin with
// `prefix`, and their type is `kind`, or any type if `kind` is empty.
func constants(t *testing.T, pattern, prefix, kind string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("../../" + pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(pattern, err)
	}
	constant := regexp.MustCompile(`(?m)^\t?(?:const )?` + prefix + `\w*\s+` + kind + `\s*= "([^"]+)"`)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range constant.FindAllStringSubmatch(readFile(t, path[6:]), -1) {
			found = append(found, m[1])
		}
	}
	slices.Sort(found)
	return found
}

func enum(pointer string) []string { return values(asyncAPI().at(pointer)["enum"]) }

func TestConstantsAreDocumented(t *testing.T) {
	const wire, rules = "internal/protocol/*.go", "internal/session/*.go"
	for what, sides := range map[string][2][]string{
		"types from clients":    {constants(t, "internal/protocol/client.go", "Type", ""), fromClient()},
		"types from the server": {constants(t, "internal/protocol/server.go", "Type", ""), fromServer()},
		"actions":               {constants(t, wire, "Action", ""), enum("/components/schemas/Action")},
		"reasons to reconnect":  {constants(t, wire, "Reason", ""), enum("/components/messages/reconnect/payload/properties/reason")},
		"subprotocol":           {constants(t, wire, "Subprotocol", ""), []string{fmt.Sprint(asyncAPI().at("/channels/session")["x-subprotocol"])}},
		"error codes":           {constants(t, rules, "Code", "Code"), enum("/components/schemas/ErrorCode")},
		"ends":                  {constants(t, rules, "End", "EndReason"), enum("/components/messages/ended/payload/properties/reason")},
		"causes":                {causes(constants(t, rules, "Cause", "Cause")), enum("/components/schemas/Cause")},
	} {
		if diff := cmp.Diff(sides[0], sides[1]); diff != "" {
			t.Errorf("%s: in the code (-), in asyncapi.yaml (+):\n%s", what, diff)
		}
	}
}

// causes maps the names of causes in package session to the names that messages have for them. It omits the cause of a
// join, which no message has.
func causes(all []string) []string {
	var wire []string
	for _, c := range all {
		if session.Cause(c) != session.CauseJoin {
			wire = append(wire, protocol.FromPush(session.Push{Cause: session.Cause(c)}).Cause)
		}
	}
	slices.Sort(wire)
	return slices.Compact(wire)
}

var messageTypes = map[string]any{
	protocol.TypeJoined:     protocol.Joined{},
	protocol.TypeWillExpire: protocol.TokenPrivilege{},
	protocol.TypeDidExpire:  protocol.TokenPrivilege{},
	protocol.TypeReconnect:  protocol.Reconnect{},
	protocol.TypeEnded:      protocol.Ended{},
	protocol.TypePong:       protocol.Pong{},
	protocol.TypeError:      protocol.Error{},
}

// TestFieldsAreDocumented checks that the messages in Go and in asyncapi.yaml have the same fields. It does not compare
// the fields' types: other tests do, whenever they send or receive a message.
func TestFieldsAreDocumented(t *testing.T) {
	for kind, message := range messageTypes {
		sameFields(t, kind, reflect.TypeOf(message), asyncAPI().at("/components/messages/"+kind+"/payload"))
	}
	union := object{"type": object{}}
	for _, kind := range fromClient() {
		for field, schema := range asyncAPI().children("/components/messages/" + kind + "/payload/properties") {
			union[field] = schema
		}
	}
	sameFields(t, "what clients send", reflect.TypeFor[protocol.ClientMessage](), object{"properties": union})
}

func sameFields(t *testing.T, path string, structure reflect.Type, schema object) {
	t.Helper()
	var fields []string
	properties, _ := schema["properties"].(object)
	for f := range structure.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if property, ok := properties[name].(object); ok && inner.Kind() == reflect.Struct {
			sameFields(t, path+"."+name, inner, asyncAPI().follow(property))
		}
	}
	slices.Sort(fields)
	if diff := cmp.Diff(fields, names(properties)); diff != "" {
		t.Errorf("%s: fields in the code (-), in asyncapi.yaml (+):\n%s", path, diff)
	}
}

// TestDocumentsAgree checks that the schemas that asyncapi.yaml and openapi.yaml share are equal, except for
// descriptions.
func TestDocumentsAgree(t *testing.T) {
	strip := cmp.FilterPath(func(p cmp.Path) bool {
		i, ok := p.Last().(cmp.MapIndex)
		return ok && i.Key().String() == "description"
	}, cmp.Ignore())
	own := openAPI().children("/components/schemas")
	for name, schema := range asyncAPI().children("/components/schemas") {
		if own[name] == nil {
			continue
		}
		if diff := cmp.Diff(schema, own[name], strip); diff != "" {
			t.Errorf("%s: asyncapi.yaml (-), openapi.yaml (+):\n%s", name, diff)
		}
	}
}

package docs

import (
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/protocol"
	"refresher/internal/session"
)

// constants returns the values of string constants in the files that match `pattern`: of those constants whose name
// begins with `prefix` and whose type is `kind` (any type if `kind` is empty).
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

// TestConstantsAreDocumented compares the enumerations of asyncapi.yaml with the constants in the code.
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

// causes maps the causes of a session to their names in messages. It omits the cause of a join, since the joined
// message has no cause.
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

// TestCloseCodesHaveTheirErrors checks that asyncapi.yaml lists, for each close code, the errors and reasons that the
// code maps to it.
func TestCloseCodesHaveTheirErrors(t *testing.T) {
	// These errors and reasons may also precede a close code, though the mapping does not have them.
	extra := map[string]bool{"1007 bad_request": true, "1009 bad_request": true, "4408 bad_request": true, "4410 left": true}
	want, have := map[string]bool{}, map[string]bool{}
	for _, code := range enum("/components/schemas/ErrorCode") {
		want[fmt.Sprint(protocol.CloseForError(session.Code(code)), " ", code)] = true
	}
	for _, reason := range enum("/components/messages/ended/payload/properties/reason") {
		want[fmt.Sprint(protocol.CloseForEnd(session.EndReason(reason)), " ", reason)] = true
	}
	want[fmt.Sprint(protocol.CloseDrain, " ", protocol.ReasonDrain)] = true
	want[fmt.Sprint(protocol.CloseOverload, " ", protocol.ReasonOverload)] = true
	for code, c := range closeCodes() {
		for _, why := range slices.Concat(values(c["errors"]), values(c["reasons"])) {
			if pair := code + " " + why; !extra[pair] {
				have[pair] = true
			}
		}
	}
	if diff := cmp.Diff(names(want), names(have)); diff != "" {
		t.Errorf("what precedes a close: in the code (-), in asyncapi.yaml (+):\n%s", diff)
	}
}

// messageTypes are the Go types of the server's messages.
var messageTypes = map[string]any{
	protocol.TypeJoined:     protocol.Joined{},
	protocol.TypeWillExpire: protocol.TokenPrivilege{},
	protocol.TypeDidExpire:  protocol.TokenPrivilege{},
	protocol.TypeReconnect:  protocol.Reconnect{},
	protocol.TypeEnded:      protocol.Ended{},
	protocol.TypePong:       protocol.Pong{},
	protocol.TypeError:      protocol.Error{},
}

// TestFieldsAreDocumented checks that the messages in Go and in asyncapi.yaml have the same
// fields, of the same types.
func TestFieldsAreDocumented(t *testing.T) {
	if diff := cmp.Diff(fromServer(), names(messageTypes)); diff != "" {
		t.Errorf("documented (-), known to this test (+):\n%s", diff)
	}
	for kind, message := range messageTypes {
		sameFields(t, kind, reflect.TypeOf(message), asyncAPI().at("/components/messages/"+kind+"/payload"))
	}
	union := make(object)
	for _, kind := range fromClient() {
		for field, schema := range asyncAPI().children("/components/messages/" + kind + "/payload/properties") {
			union[field] = schema
		}
	}
	union["type"] = object{"type": "string"}
	sameFields(t, "what clients send", reflect.TypeFor[protocol.ClientMessage](), object{"properties": union, "required": nil})
}

// sameFields compares a struct with the schema of an object.
func sameFields(t *testing.T, path string, structure reflect.Type, schema object) {
	t.Helper()
	var fields, required []string
	properties, _ := schema["properties"].(object)
	for f := range structure.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
		if options != "omitempty" {
			required = append(required, name)
		}
		property, ok := properties[name].(object)
		if !ok {
			continue
		}
		property = asyncAPI().follow(property)
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if want, have := jsonType(inner), schemaType(property); want != have {
			t.Errorf("%s.%s: %s in the code, %s in asyncapi.yaml", path, name, want, have)
		}
		if inner.Kind() == reflect.Struct {
			sameFields(t, path+"."+name, inner, property)
		}
	}
	slices.Sort(fields)
	if diff := cmp.Diff(fields, names(properties)); diff != "" {
		t.Errorf("%s: fields in the code (-), in asyncapi.yaml (+):\n%s", path, diff)
	}
	// The decoder's struct does not tell which fields a client may omit, so only the server's types are checked.
	if fromServerType(structure) {
		slices.Sort(required)
		if diff := cmp.Diff(required, values(schema["required"])); diff != "" {
			t.Errorf("%s: always sent (-), required in asyncapi.yaml (+):\n%s", path, diff)
		}
	}
}

func fromServerType(structure reflect.Type) bool {
	switch structure {
	case reflect.TypeFor[protocol.ClientMessage](), reflect.TypeFor[protocol.RTC](), reflect.TypeFor[protocol.User]():
		return false
	}
	return true
}

func jsonType(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[protocol.SDKCode]():
		return "number string"
	case t == reflect.TypeFor[session.Role](), t == reflect.TypeFor[session.Format]():
		return "string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Struct:
		return "object"
	default:
		return "integer"
	}
}

func schemaType(schema object) string {
	switch kind := schema["type"].(type) {
	case string:
		return kind
	case []any:
		return strings.Join(values(kind), " ")
	}
	if _, ok := schema["const"].(string); ok {
		return "string"
	}
	return "none"
}

// TestKeysAndSeqsAreAsLongAsDocumented checks the limits of resume.seq and of keys.
func TestKeysAndSeqsAreAsLongAsDocumented(t *testing.T) {
	if most := fmt.Sprint(asyncAPI().at("/components/messages/resume/payload/properties/seq")["maximum"]); most != strconv.Itoa(session.MaxSeq) {
		t.Errorf("resume.seq: at most %s in asyncapi.yaml, %d in the code", most, session.MaxSeq)
	}
	most := fmt.Sprint(asyncAPI().at("/components/schemas/Key")["maxLength"])
	if !strings.Contains(readFile(t, "internal/session/key.go"), "maxSealed = "+most+"\n") {
		t.Errorf("key: at most %s characters in asyncapi.yaml; the code has another maxSealed", most)
	}
}

// TestDocumentsAgree checks that schemas in both documents are equal, except for descriptions.
func TestDocumentsAgree(t *testing.T) {
	strip := cmp.FilterPath(func(p cmp.Path) bool {
		i, ok := p.Last().(cmp.MapIndex)
		return ok && i.Key().String() == "description"
	}, cmp.Ignore())
	own := openAPI().children("/components/schemas")
	shared := 0
	for name, schema := range asyncAPI().children("/components/schemas") {
		if own[name] == nil {
			continue
		}
		shared++
		if diff := cmp.Diff(schema, own[name], strip); diff != "" {
			t.Errorf("%s: asyncapi.yaml (-), openapi.yaml (+):\n%s", name, diff)
		}
	}
	if shared < 5 {
		t.Errorf("only %d schemas in common", shared)
	}
	for name, message := range map[string]string{
		"WillExpire": "token-privilege-will-expire", "DidExpire": "token-privilege-did-expire",
	} {
		if diff := cmp.Diff(asyncAPI().at("/components/messages/"+message+"/payload"), own[name], strip); diff != "" {
			t.Errorf("%s: asyncapi.yaml (-), openapi.yaml (+):\n%s", name, diff)
		}
	}
	for name, channel := range asyncAPI().children("/channels/session/messages") {
		if kind := asyncAPI().follow(channel["payload"].(object))["properties"].(object)["type"].(object)["const"]; kind != name {
			t.Errorf("message %s has the type %v", name, kind)
		}
	}
}

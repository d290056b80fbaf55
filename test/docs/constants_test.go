package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
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

// constant is one from the source.
type constant struct {
	name, kind, value, file string
}

// sources are the parsed files below a folder of the module, without tests.
func sources(t *testing.T, folder string) map[string]*ast.File {
	t.Helper()
	files := make(map[string]*ast.File)
	err := fs.WalkDir(os.DirFS("../.."), folder, func(path string, _ fs.DirEntry, err error) error {
		test := strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test")
		if err != nil || !strings.HasSuffix(path, ".go") || test {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", path), nil, parser.SkipObjectResolution)
		files[path] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// constants are the package-level ones of a folder whose value is written out.
func constants(t *testing.T, folder string) []constant {
	t.Helper()
	var found []constant
	for path, file := range sources(t, folder) {
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				kind := ""
				if id, ok := v.Type.(*ast.Ident); ok {
					kind = id.Name
				}
				for i, name := range v.Names {
					if i >= len(v.Values) {
						continue
					}
					literal, ok := v.Values[i].(*ast.BasicLit)
					if !ok {
						continue
					}
					value := literal.Value
					if literal.Kind == token.STRING {
						value, _ = strconv.Unquote(value)
					}
					found = append(found, constant{name.Name, kind, value, filepath.Base(path)})
				}
			}
		}
	}
	return found
}

// pick returns the values of the constants that are chosen, sorted.
func pick(all []constant, choose func(constant) bool) []string {
	var found []string
	for _, c := range all {
		if choose(c) {
			found = append(found, c.value)
		}
	}
	slices.Sort(found)
	return found
}

func ofKind(kind string) func(constant) bool {
	return func(c constant) bool { return c.kind == kind }
}

func enum(pointer string) []string { return values(asyncAPI().at(pointer)["enum"]) }

func later(pointer string) []string { return values(asyncAPI().at(pointer)["x-later"]) }

// Every constant of the wire is in the documents, and the other way round.
func TestConstantsAreDocumented(t *testing.T) {
	const (
		ended     = "/components/messages/ended/payload/properties/reason"
		reconnect = "/components/messages/reconnect/payload/properties/reason"
		cause     = "/components/schemas/Cause"
	)
	wire := constants(t, "internal/protocol")
	rules := constants(t, "internal/session")
	typed := func(file string) func(constant) bool {
		return func(c constant) bool { return strings.HasPrefix(c.name, "Type") && c.file == file }
	}
	named := func(prefix string) func(constant) bool {
		return func(c constant) bool { return c.kind == "" && strings.HasPrefix(c.name, prefix) }
	}
	for what, sides := range map[string][2][]string{
		"types from clients":    {pick(wire, typed("client.go")), fromClient()},
		"types from the server": {pick(wire, typed("server.go")), fromServer()},
		"actions":               {pick(wire, named("Action")), enum("/components/schemas/Action")},
		"reasons to reconnect":  {pick(wire, named("Reason")), enum(reconnect)},
		"close codes":           {pick(wire, ofKind("CloseCode")), names(closeCodes())},
		"subprotocol":           {pick(wire, named("Subprotocol")), []string{fmt.Sprint(asyncAPI().at("/channels/session")["x-subprotocol"])}},
		"error codes":           {pick(rules, ofKind("Code")), enum("/components/schemas/ErrorCode")},
		"ends":                  {pick(rules, ofKind("EndReason")), enum(ended)},
		"ends that come later":  {unusedEnds(t), later(ended)},
		"causes":                {causes(pick(rules, ofKind("Cause"))), without(enum(cause), later(cause))},
	} {
		if diff := cmp.Diff(sides[0], sides[1]); diff != "" {
			t.Errorf("%s: in the code (-), in asyncapi.yaml (+):\n%s", what, diff)
		}
	}
	for _, c := range wire {
		known := c.kind == "CloseCode" || c.kind == "AfterClose" || c.name == "Subprotocol" || c.name == "MaxMessage" || c.name == "PingText" // a ping as it is usually written
		for _, prefix := range []string{"Type", "Action", "Reason"} {
			known = known || strings.HasPrefix(c.name, prefix)
		}
		if !known && ast.IsExported(c.name) {
			t.Errorf("protocol.%s = %s: this test does not know where it is documented", c.name, c.value)
		}
	}
}

// causes are the session's causes as they show on the wire. That of a join does
// not: a joined message has no cause.
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

// unusedEnds are the reasons of an end that no code gives yet.
func unusedEnds(t *testing.T) []string {
	t.Helper()
	used := make(map[string]bool)
	for _, file := range sources(t, "internal") {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				return n.Tok != token.CONST
			case *ast.Ident:
				used[n.Name] = true
			}
			return true
		})
	}
	return pick(constants(t, "internal/session"), func(c constant) bool { return c.kind == "EndReason" && !used[c.name] })
}

// The errors and reasons that asyncapi.yaml has before each close code are those that
// the code gives it.
func TestCloseCodesHaveTheirErrors(t *testing.T) {
	// Beside what the mapping of errors and ends gives.
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

// messageTypes are the Go types of what the server sends.
var messageTypes = map[string]any{
	protocol.TypeJoined:     protocol.Joined{},
	protocol.TypeWillExpire: protocol.TokenPrivilege{},
	protocol.TypeDidExpire:  protocol.TokenPrivilege{},
	protocol.TypeReconnect:  protocol.Reconnect{},
	protocol.TypeEnded:      protocol.Ended{},
	protocol.TypePong:       protocol.Pong{},
	protocol.TypeError:      protocol.Error{},
}

// Every field is documented, with its type, and the other way round.
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
	// What a client may leave out is not for the decoder to say.
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

// jsonType is the JSON type that a Go type is written as.
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

// The limits in the documents are those of the code.
func TestLimitsAreDocumented(t *testing.T) {
	limits := map[string]string{
		"messageBytes": strconv.Itoa(protocol.MaxMessage),
		"silentPushes": strconv.Itoa(session.SilentTries),
	}
	for _, c := range constants(t, "internal/ws") {
		switch c.name {
		case "messagesPerSecond":
			limits["messagesPerSecond"] = c.value
		case "messageBurst":
			limits["messageBurst"] = c.value
		}
	}
	hub, err := os.ReadFile("../../internal/ws/hub.go")
	if err != nil {
		t.Fatal(err)
	}
	seconds := func(name string) string {
		m := regexp.MustCompile(name + ` += (\d+) \* time\.Second`).FindSubmatch(hub)
		if m == nil {
			t.Fatalf("internal/ws/hub.go does not set %s to a number of seconds", name)
		}
		return string(m[1])
	}
	limits["firstMessageSeconds"] = seconds("joinTimeout")
	limits["writeSeconds"] = seconds("writeTimeout")

	documented := make(map[string]string)
	for name, value := range asyncAPI().at("/channels/session/x-limits") {
		documented[name] = fmt.Sprint(value)
	}
	if diff := cmp.Diff(limits, documented); diff != "" {
		t.Errorf("in the code (-), in asyncapi.yaml (+):\n%s", diff)
	}
	longest := pick(constants(t, "internal/session"), func(c constant) bool { return c.name == "maxSealed" })
	if diff := cmp.Diff(longest, []string{fmt.Sprint(asyncAPI().at("/components/schemas/Key")["maxLength"])}); diff != "" {
		t.Errorf("length of a key: in the code (-), in asyncapi.yaml (+):\n%s", diff)
	}
	if most := fmt.Sprint(asyncAPI().at("/components/messages/resume/payload/properties/seq")["maximum"]); most != strconv.Itoa(session.MaxSeq) {
		t.Errorf("resume.seq: at most %s in asyncapi.yaml, %d in the code", most, session.MaxSeq)
	}
}

// The schemas that both documents have are the same, but for their words.
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

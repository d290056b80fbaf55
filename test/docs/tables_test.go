package docs

import (
	"fmt"
	"go/ast"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

func readProtocol(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/build/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sections cuts the text at its headings of the second and third level.
func sections(text string) map[string]string {
	found := make(map[string]string)
	heading, quoted := "", false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			quoted = !quoted
		}
		if !quoted && (strings.HasPrefix(line, "## ") || strings.HasPrefix(line, "### ")) {
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
		found[heading] += line
	}
	return found
}

// section is the text below one heading, up to the next.
func section(text, heading string) string { return sections(text)[heading] }

// tables are the tables in a text, each as rows of cells. The first row is the
// head.
func tables(text string) [][][]string {
	var found [][][]string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		if !inside {
			found = append(found, nil)
			inside = true
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		last := len(found) - 1
		found[last] = append(found[last], cells)
	}
	return found
}

// tableOf returns the rows below a head, by their first cell without its
// quotes.
func tableOf(t *testing.T, text string, head ...string) map[string][]string {
	t.Helper()
	for _, table := range tables(text) {
		if !slices.Equal(table[0], head) {
			continue
		}
		rows := make(map[string][]string)
		for _, row := range table[1:] {
			rows[strings.Trim(row[0], "`")] = row
		}
		return rows
	}
	t.Fatalf("there is no table %q", head)
	return nil
}

// The tables of messages have the fields of asyncapi.yaml, and their values.
func TestMessageTables(t *testing.T) {
	described := make(map[string]bool)
	for heading, text := range sections(readProtocol(t)) {
		if !strings.HasPrefix(heading, "`") {
			continue
		}
		for kind := range strings.SplitSeq(strings.ReplaceAll(heading, "`", ""), ", ") {
			described[kind] = true
			var want map[string]object
			if kind == "tokens" {
				want = flatten("/components/schemas/Tokens", "")
				for field, schema := range flatten("/components/schemas/Token", "") {
					want["*."+field] = schema
				}
			} else {
				want = flatten("/components/messages/"+kind+"/payload", "")
			}
			rows := make(map[string][]string)
			if len(want) > 0 || len(tables(text)) > 0 {
				rows = tableOf(t, text, "field", "type", "meaning")
			}
			if diff := cmp.Diff(names(want), names(rows)); diff != "" {
				t.Errorf("%s: fields of asyncapi.yaml (-), of protocol.md (+):\n%s", kind, diff)
			}
			for field, row := range rows {
				checkRow(t, kind+"."+field, row, want[field])
			}
			if slices.Contains(fromClient(), kind) {
				checkOptional(t, kind, rows)
			}
		}
	}
	want := append(slices.Concat(fromClient(), fromServer()), "tokens")
	slices.Sort(want)
	if diff := cmp.Diff(want, names(described)); diff != "" {
		t.Errorf("messages of asyncapi.yaml (-), of protocol.md (+):\n%s", diff)
	}
}

// flatten lists the fields of a schema, those within objects as a.b. A message's
// type is left out, and what is in tokens, which has a table of its own.
func flatten(pointer, prefix string) map[string]object {
	fields := make(map[string]object)
	properties, _ := asyncAPI().at(pointer)["properties"].(object)
	for name, property := range properties {
		if name == "type" && prefix == "" {
			continue
		}
		schema := asyncAPI().follow(property.(object))
		fields[prefix+name] = schema
		if name == "tokens" || strings.HasSuffix(pointer, "/Tokens") || schema["type"] != "object" {
			continue
		}
		maps.Copy(fields, flatten(pointer+"/properties/"+name, prefix+name+"."))
	}
	return fields
}

// checkRow compares a row with the schema of its field: the type, the values of
// an enum, and the limits of a client's names and numbers.
func checkRow(t *testing.T, field string, row []string, schema object) {
	t.Helper()
	if schema == nil {
		return // reported
	}
	kind := strings.ReplaceAll(schemaType(schema), "number string", "string or number")
	if row[1] != kind {
		t.Errorf("%s: %q in protocol.md, %q in asyncapi.yaml", field, row[1], kind)
	}
	// action has a constant for each of the two messages that share a table.
	want := values(schema["enum"])
	if strings.HasSuffix(field, ".action") {
		want = enum("/components/schemas/Action")
	}
	var have []string
	for _, m := range regexp.MustCompile("`\"([a-z0-9_-]+)\"`").FindAllStringSubmatch(row[2], -1) {
		have = append(have, m[1])
	}
	if slices.Sort(have); want != nil {
		if diff := cmp.Diff(want, slices.Compact(have)); diff != "" {
			t.Errorf("%s: values in asyncapi.yaml (-), in protocol.md (+):\n%s", field, diff)
		}
	}
	for _, later := range values(schema["x-later"]) {
		if _, after, _ := strings.Cut(row[2], "Later:"); !strings.Contains(after, later) {
			t.Errorf("%s: %s is not said to come later", field, later)
		}
	}
	for _, bound := range []string{"maxLength", "maximum"} {
		limit := fmt.Sprint(schema[bound])
		if n, err := strconv.ParseFloat(limit, 64); err != nil || n >= 1<<52 || field == "join.ttl" || field == "joined.renewBefore" {
			continue // not of this field alone, or said elsewhere
		}
		if !strings.Contains(row[2], limit) {
			t.Errorf("%s: %s is %s, which protocol.md does not say", field, bound, limit)
		}
	}
}

// checkOptional holds what a table of a client's message calls optional against
// what the schema requires.
func checkOptional(t *testing.T, kind string, rows map[string][]string) {
	t.Helper()
	payload := asyncAPI().at("/components/messages/" + kind + "/payload")
	for field, row := range rows {
		schema, name := payload, field
		if of, inner, ok := strings.Cut(field, "."); ok {
			schema, name = asyncAPI().follow(payload["properties"].(object)[of].(object)), inner
		}
		choice := slices.Concat(anyList(payload["anyOf"]), anyList(schema["oneOf"])) // one of them is required
		required := slices.Contains(values(schema["required"]), name) || slices.ContainsFunc(choice, func(c any) bool {
			return slices.Contains(values(c.(object)["required"]), name)
		})
		if said := strings.HasPrefix(row[2], "optional"); said == required {
			t.Errorf("%s.%s: required %v in asyncapi.yaml, optional %v in protocol.md", kind, field, required, said)
		}
	}
}

func TestErrorTable(t *testing.T) {
	rows := tableOf(t, section(readProtocol(t), "Errors"), "error", "close code", "HTTP status", "meaning")
	if diff := cmp.Diff(enum("/components/schemas/ErrorCode"), names(rows)); diff != "" {
		t.Errorf("asyncapi.yaml (-), protocol.md (+):\n%s", diff)
	}
	for name, row := range rows {
		code := session.Code(name)
		if want := strconv.Itoa(int(protocol.CloseForError(code))); row[1] != want {
			t.Errorf("%s: close code %s, the code has %s", name, row[1], want)
		}
		if want := strconv.Itoa(protocol.StatusForError(code)); row[2] != want {
			t.Errorf("%s: status %s, the code has %s", name, row[2], want)
		}
	}
}

func TestLimitTable(t *testing.T) {
	limits := asyncAPI().at("/channels/session/x-limits")
	rows := tableOf(t, section(readProtocol(t), "The connection"), "limit", "value", "beyond it")
	for row, value := range map[string]string{
		"a message from the client":           fmt.Sprint(limits["messageBytes"], " bytes"),
		"messages from the client":            fmt.Sprint(limits["messagesPerSecond"], " a second on average, ", limits["messageBurst"], " at once"),
		"until the first message":             fmt.Sprint(limits["firstMessageSeconds"], " s"),
		"without any message from the client": "twice `--heartbeat`",
		"pushes in a row without an answer":   fmt.Sprint(limits["silentPushes"]),
		"for the client to take a message":    fmt.Sprint(limits["writeSeconds"], " s"),
	} {
		if rows[row] == nil || rows[row][1] != value {
			t.Errorf("%s: %v, want %s", row, rows[row], value)
		}
		delete(rows, row)
	}
	if len(rows) > 0 {
		t.Errorf("not known to this test: %v", rows)
	}
}

// TestHeartbeats: the table of heartbeats, and those in the transcripts, are what the
// service tells and the client library waits for with the default settings.
func TestHeartbeats(t *testing.T) {
	text := readProtocol(t)
	longest, err := time.ParseDuration(settings(t)["--heartbeat"].value)
	if err != nil {
		t.Fatal(err)
	}
	var policy session.Policy
	rows := tableOf(t, section(text, "What a client owes"), "lifetime", "`renewBefore`", "`heartbeat`", "wait for an answer", "a dead connection is found within")
	for lifetime, row := range rows {
		ttl, err := time.ParseDuration(strings.NewReplacer(" ", "", "min", "m").Replace(lifetime))
		if err != nil {
			t.Fatal(err)
		}
		headStart := policy.HeadStart(ttl)
		heartbeat := protocol.Heartbeat(longest, headStart)
		patience := client.Patience(heartbeat)
		want := []string{lifetime}
		for _, d := range []time.Duration{headStart, heartbeat, patience, heartbeat + patience} {
			want = append(want, fmt.Sprint(d.Seconds(), " s"))
		}
		if diff := cmp.Diff(want, row); diff != "" {
			t.Errorf("computed (-), protocol.md (+):\n%s", diff)
		}
	}
	said := regexp.MustCompile(`"heartbeat":(\d+),"renewBefore":(\d+)`).FindAllStringSubmatch(text, -1)
	for _, m := range said {
		before, _ := strconv.Atoi(m[2])
		if want := protocol.Heartbeat(longest, time.Duration(before)*time.Second); m[1]+"s" != want.String() {
			t.Errorf("%s; want a heartbeat of %s", m[0], want)
		}
	}
	if len(rows) < 5 || len(said) < 10 {
		t.Errorf("%d rows, %d messages", len(rows), len(said))
	}
}

// setting is one of the command's.
type setting struct {
	value string   // its default
	env   []string // the variables that set it, the better one first
}

// settings are the flags of serve.
func settings(t *testing.T) map[string]setting {
	t.Helper()
	found := make(map[string]setting)
	for _, file := range sources(t, "cmd/refresher") {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !slices.Contains([]string{"credentials", "settings", "keySettings", "serveCommand"}, spec.Name.Name) {
				return true
			}
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				if f.Tag == nil || len(f.Names) == 0 {
					continue
				}
				text, err := strconv.Unquote(f.Tag.Value)
				if err != nil {
					t.Fatal(err)
				}
				tag := reflect.StructTag(text)
				name := tag.Get("name")
				if name == "" {
					name = strings.ToLower(regexp.MustCompile("([a-z])([A-Z])").ReplaceAllString(f.Names[0].Name, "$1-$2"))
				}
				found["--"+name] = setting{tag.Get("default"), strings.Split(tag.Get("env"), ",")}
			}
			return false
		})
	}
	return found
}

// The settings' defaults are those of the command.
func TestSettingTable(t *testing.T) {
	known := settings(t)
	for name, row := range tableOf(t, section(readProtocol(t), "The connection"), "setting", "default", "meaning") {
		if s, ok := known[name]; !ok || "`"+s.value+"`" != row[1] {
			t.Errorf("%s: default %s, in the command %q", name, row[1], s.value)
		}
	}
}

func TestClassicTable(t *testing.T) {
	rows := tableOf(t, section(readProtocol(t), "Classic token endpoints"), "request", "answer")
	var documented []string
	for _, o := range operations() {
		if values(o.spec["tags"])[0] == "classic" {
			documented = append(documented, o.String())
		}
	}
	if diff := cmp.Diff(documented, names(rows)); diff != "" {
		t.Errorf("openapi.yaml (-), protocol.md (+):\n%s", diff)
	}
	for _, o := range operations() {
		row := rows[o.String()]
		if row == nil {
			continue
		}
		content := openAPI().follow(openAPI().at(o.pointer + "/responses/200"))["content"].(object)
		var want []string // none in text
		if answer, ok := content["application/json"].(object); ok {
			want = names(openAPI().follow(answer["schema"].(object))["properties"].(object))
		}
		var have []string
		for _, m := range regexp.MustCompile(`"(\w+)":`).FindAllStringSubmatch(row[1], -1) {
			have = append(have, m[1])
		}
		slices.Sort(have)
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s: openapi.yaml (-), protocol.md (+):\n%s", o, diff)
		}
	}
}

func TestOperatorTable(t *testing.T) {
	rows := tableOf(t, section(readProtocol(t), "For operators and back ends"), "request", "what it does")
	var documented []string
	for _, o := range operations() {
		if o.tag() == "operators" {
			documented = append(documented, o.String())
		}
	}
	if diff := cmp.Diff(documented, names(rows)); diff != "" {
		t.Errorf("openapi.yaml (-), protocol.md (+):\n%s", diff)
	}
}

func TestRenewalTable(t *testing.T) {
	rows := tableOf(t, section(readProtocol(t), "Renewal over HTTP"), "status", "code", "meaning")
	for _, o := range operations() {
		if o.spec["operationId"] != "renewSession" {
			continue
		}
		if diff := cmp.Diff(names(o.spec["responses"].(object)), names(rows)); diff != "" {
			t.Errorf("openapi.yaml (-), protocol.md (+):\n%s", diff)
		}
		return
	}
	t.Error("openapi.yaml has no renewSession")
}

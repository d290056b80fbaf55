package docs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"refresher/internal/app/apptest"
	"refresher/internal/client"
	"refresher/internal/protocol"
	"refresher/internal/session"
	"refresher/test/generated"
)

//go:generate go test -run Generated$ . -update

const (
	asyncPage    = "../../docs/asyncapi.yaml"
	protocolPage = "../../docs/build/protocol.md"
	metricsPage  = "../../docs/operate/metrics.md"
)

// errorMeanings has the error codes in the order of the table.
var errorMeanings = []struct {
	code session.Code
	text string
}{
	{session.CodeBadRequest, "the message or request is malformed, or breaks a rule"},
	{session.CodeUnknownType, "there is no such type of message"},
	{session.CodeUnauthenticated, "no valid credential"},
	{session.CodeForbidden, "the credential does not grant the request, a revocation matches it, or your back end denies it"},
	{session.CodeUnknownSession, "the service does not know the session, or the key does not belong to it"},
	{session.CodeRateLimited, "too many messages; over HTTP, too many requests"},
	{session.CodeUnavailable, "the node is full, or cannot reach a system that it needs for the answer; obey `reconnect` or `Retry-After`, or back off"},
	{session.CodeInternal, "the server failed; back off"},
}

func TestErrorsAreGenerated(t *testing.T) {
	var rows [][]string
	var codes, texts []string
	for _, e := range errorMeanings {
		closes, status := strconv.Itoa(int(protocol.CloseForError(e.code))), strconv.Itoa(protocol.StatusForError(e.code))
		rows = append(rows, []string{"`" + string(e.code) + "`", closes, status, e.text})
		codes, texts = append(codes, string(e.code)), append(texts, fmt.Sprintf("        `%s`: %s.", e.code, e.text))
	}
	generated.Block(t, protocolPage, "errors", generated.Table([]string{"error", "close code", "HTTP status", "meaning"}, rows...))
	generated.Block(t, asyncPage, "errors",
		"      enum: ["+strings.Join(codes, ", ")+"]\n      description: >-\n"+strings.Join(texts, "\n"))
}

func TestLimitsAreGenerated(t *testing.T) {
	seconds := func(d time.Duration) string { return fmt.Sprint(d.Seconds(), " s") }
	generated.Block(t, protocolPage, "limits", generated.Table(
		[]string{"limit", "value", "beyond it"},
		[]string{"a message from the client", fmt.Sprint(protocol.MaxMessage, " bytes"), "`error` `bad_request`, close 1009"},
		[]string{
			"messages from the client", fmt.Sprintf("%d a second on average, %d at once", protocol.MessagesPerSecond, protocol.MessageBurst),
			"`error` `rate_limited`, close 4429",
		},
		[]string{"until the first message", seconds(protocol.FirstMessageTimeout), "`error` `bad_request`, close 4408"},
		[]string{"without any message from the client", "twice `--heartbeat`", "close 4001"},
		[]string{"pushes in a row without an answer", strconv.Itoa(session.SilentTries), "close 4001"},
		[]string{"for the client to take a message", seconds(protocol.WriteTimeout), "the connection is cut"},
	))
	generated.Block(t, asyncPage, "limits", fmt.Sprintf(`      # Of one connection. A ping or pong frame counts as a message, and so does each KiB of a
      # message beyond its first.
      messageBytes: %d
      messagesPerSecond: %d
      messageBurst: %d
      firstMessageSeconds: %.0f
      # Unanswered pushes in a row before the connection is closed with 4001.
      silentPushes: %d
      # A client that does not take a message for so long is cut off.
      writeSeconds: %.0f`, protocol.MaxMessage, protocol.MessagesPerSecond, protocol.MessageBurst,
		protocol.FirstMessageTimeout.Seconds(), session.SilentTries, protocol.WriteTimeout.Seconds()))
}

// TestHeartbeatsAreGenerated generates the table of heartbeats from the service's defaults and the client library's
// timeout. It also checks the heartbeats in the transcripts.
func TestHeartbeatsAreGenerated(t *testing.T) {
	longest, policy := apptest.Config().Heartbeat, session.Policy{}
	var rows [][]string
	for _, lifetime := range []string{"1 h", "10 min", "5 min", "1 min", "30 s", "10 s"} {
		ttl, err := time.ParseDuration(strings.NewReplacer(" ", "", "min", "m").Replace(lifetime))
		if err != nil {
			t.Fatal(err)
		}
		headStart := policy.HeadStart(ttl)
		heartbeat := protocol.Heartbeat(longest, headStart)
		wait := client.Patience(heartbeat)
		row := []string{lifetime}
		for _, d := range []time.Duration{headStart, heartbeat, wait, heartbeat + wait} {
			row = append(row, fmt.Sprint(d.Seconds(), " s"))
		}
		rows = append(rows, row)
	}
	head := []string{"lifetime", "`renewBefore`", "`heartbeat`", "wait for an answer", "a dead connection is found within"}
	generated.Block(t, protocolPage, "heartbeats", generated.Table(head, rows...))
	text := readFile(t, "docs/build/protocol.md")
	for _, m := range regexp.MustCompile(`"heartbeat":(\d+),"renewBefore":(\d+)`).FindAllStringSubmatch(text, -1) {
		before, _ := strconv.Atoi(m[2])
		if want := protocol.Heartbeat(longest, time.Duration(before)*time.Second); m[1]+"s" != want.String() {
			t.Errorf("%s; want a heartbeat of %s", m[0], want)
		}
	}
}

// TestCloseCodesAreGenerated generates the tables of close codes, and the test cases of the browser library, from the
// table in internal/protocol.
func TestCloseCodesAreGenerated(t *testing.T) {
	var rows [][]string
	var lines, cases []string
	for _, c := range protocol.CloseCodes() {
		then := string(c.Then)
		line := fmt.Sprintf("      - {code: %d, then: %s", c.Code, c.Then)
		if c.Needs != "" {
			then += " after `" + c.Needs + "`, else " + string(protocol.Retry)
			line += ", needs: " + c.Needs
		}
		if c.Errors != nil {
			line += ", errors: [" + commas(c.Errors) + "]"
		}
		if c.Reasons != nil {
			line += ", reasons: [" + commas(c.Reasons) + "]"
		}
		rows = append(rows, []string{fmt.Sprint(c.Code), then, c.When})
		lines = append(lines, line+fmt.Sprintf(", description: '%s'}", strings.ReplaceAll(c.When, "'", "''")))
	}
	type after struct {
		Code  protocol.CloseCode  `json:"code"`
		None  protocol.AfterClose `json:"none"`
		Error protocol.AfterClose `json:"error"`
		Ended protocol.AfterClose `json:"ended"`
	}
	codes := []protocol.CloseCode{1005, 1015, 3000, 4321, 4999} // test cases with codes that the protocol does not define
	for _, c := range protocol.CloseCodes() {
		codes = append(codes, c.Code)
	}
	slices.Sort(codes)
	for _, c := range codes {
		cases = append(cases, "  "+asJSON(after{c, c.After(""), c.After(protocol.TypeError), c.After(protocol.TypeEnded)}))
	}
	generated.Block(t, protocolPage, "close codes", generated.Table([]string{"code", "then", "when"}, rows...))
	generated.Block(t, asyncPage, "close codes", strings.Join(lines, "\n"))
	generated.File(t, "../../web/client/test/closecodes.json", "[\n"+strings.Join(cases, ",\n")+"\n]\n")
}

func commas[S ~string](all []S) string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}

// TestMessageTablesAreGenerated generates the table of each message in protocol.md from asyncapi.yaml. It stands below
// the tests that write into asyncapi.yaml: tests run in their order in the file, and it must run after those.
func TestMessageTablesAreGenerated(t *testing.T) {
	described := map[string]bool{"token-privilege-did-expire": true} // it has no table of its own: that of token-privilege-will-expire documents it, too
	for heading := range sections(readFile(t, "docs/build/protocol.md")) {
		if strings.HasPrefix(heading, "`") {
			described[strings.Trim(strings.Split(heading, ",")[0], "`")] = true
		}
	}
	for _, kind := range slices.Concat(fromClient(), fromServer()) {
		if !described[kind] {
			t.Errorf("protocol.md has no heading for %s", kind)
		}
		rows := fieldRows("/components/messages/"+kind+"/payload", "", slices.Contains(fromClient(), kind))
		if len(rows) > 0 && kind != "token-privilege-did-expire" {
			generated.Block(t, protocolPage, kind, generated.Table([]string{"field", "type", "meaning"}, rows...))
		}
	}
	tokens := fieldRows("/components/schemas/Tokens", "", false)
	tokens = append(tokens, fieldRows("/components/schemas/Token", "*.", false)...)
	generated.Block(t, protocolPage, "tokens", generated.Table([]string{"field", "type", "meaning"}, tokens...))
}

// fieldRows returns a table row for each field of a schema, in the schema's order. A field within an object is named
// a.b. The table omits a message's type, and the fields of tokens, which have a table of their own. In messages from
// clients it marks optional fields.
func fieldRows(pointer, prefix string, fromClient bool) (rows [][]string) {
	schema := asyncAPI().at(pointer)
	needed := values(schema["required"])
	// At least one of the fields in an anyOf or a oneOf is required, so none of them is marked as optional.
	for _, choice := range slices.Concat(anyList(schema["anyOf"]), anyList(schema["oneOf"])) {
		needed = append(needed, values(choice.(object)["required"])...)
	}
	for _, name := range inOrder(pointer) {
		if name == "type" && prefix == "" {
			continue
		}
		field := asyncAPI().follow(schema["properties"].(object)[name].(object))
		meaning := strings.TrimSpace(fmt.Sprint(field["description"]))
		if fromClient && !slices.Contains(needed, name) {
			meaning = "Optional. " + meaning
		}
		rows = append(rows, []string{"`" + prefix + name + "`", schemaType(field), meaning})
		if name != "tokens" && field["properties"] != nil && !strings.HasSuffix(pointer, "/Tokens") {
			rows = append(rows, fieldRows(pointer+"/properties/"+name, prefix+name+".", fromClient)...)
		}
	}
	return rows
}

func inOrder(pointer string) (all []string) {
	node := asyncAPI().node(pointer + "/properties")
	for i := 0; i < len(node.Content); i += 2 {
		all = append(all, node.Content[i].Value)
	}
	return all
}

// node returns the YAML node at a JSON pointer. It follows references.
func (d *document) node(pointer string) *yaml.Node {
	at := d.text.Content[0]
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		at = child(at, part)
		if ref := child(at, "$ref"); ref != nil {
			at = d.node(strings.TrimPrefix(ref.Value, "#"))
		}
	}
	return at
}

func child(node *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}

// schemaType returns the type that a schema names; a number or a string is "string or number".
func schemaType(schema object) string {
	switch kind := schema["type"].(type) {
	case string:
		return kind
	case []any:
		return "string or number"
	}
	return "string" // the only schemas without a type are constant texts
}

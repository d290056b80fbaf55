package docs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/protocol"
)

const join = `{"type":"join","rtc":{"channel":"daily","uid":1001},"rtm":{"userId":"ana"},"chat":{"userId":"ana"}}`

// resumeOf returns the resume message for a joined message. The text `rest` has further fields.
func resumeOf(joined object, rest string) string {
	return fmt.Sprintf(`{"type":"resume","session":%q,"key":%q%s}`, joined["session"], joined["key"], rest)
}

// unheard lists documented values that the service does not send in these tests.
var unheard = map[string][]string{
	// internal means that the service failed.
	"error.code": {"internal"},
	// The service never sends 1001 and 1006, and never sends 4002 in a frame. 1011 means that the service failed.
	// 4408 takes 10 s: internal/ws tests it with simulated time.
	"close": {"1001", "1006", "1011", "4002", "4408"},
}

// TestServerSaysWhatIsDocumented plays the transcripts and the scenarios. The socket checks every message of the
// service against asyncapi.yaml. Every type, cause, reason, error and close code of asyncapi.yaml must occur.
func TestServerSaysWhatIsDocumented(t *testing.T) {
	t.Parallel()
	var seen record
	t.Run("transcripts", func(t *testing.T) { playTranscripts(t, &seen) })
	t.Run("scenarios", func(t *testing.T) {
		for name, play := range scenarios {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				play(t, &seen)
			})
		}
	})
	documented := map[string][]string{
		"type":  fromServer(),
		"close": names(closeCodes()),
	}
	for _, kind := range fromServer() {
		for field, schema := range asyncAPI().children("/components/messages/" + kind + "/payload/properties") {
			if field == "type" {
				continue
			}
			if constant, ok := schema["const"].(string); ok {
				documented[kind+"."+field] = []string{constant}
			} else if schema["enum"] != nil {
				documented[kind+"."+field] = values(schema["enum"])
			}
		}
	}
	for what, said := range documented {
		if diff := cmp.Diff(without(said, unheard[what]), seen.of(what)); diff != "" {
			t.Errorf("%s: documented (-), said by the service (+):\n%s", what, diff)
		}
	}
}

// closeCodes returns the close codes of asyncapi.yaml.
func closeCodes() map[string]object {
	codes := make(map[string]object)
	for _, c := range anyList(asyncAPI().at("/channels/session")["x-close-codes"]) {
		codes[fmt.Sprint(c.(object)["code"])] = c.(object)
	}
	return codes
}

// TestClientExamples sends the examples of asyncapi.yaml to a service, which must accept them.
func TestClientExamples(t *testing.T) {
	t.Parallel()
	n := startNode(t, "")
	for _, kind := range fromClient() {
		message := asyncAPI().at("/components/messages/" + kind)
		examples := anyList(message["examples"])
		if len(examples) == 0 {
			t.Errorf("%s has no example", kind)
		}
		for _, e := range examples {
			payload := maps.Clone(e.(object)["payload"].(object))
			t.Run(kind+"/"+fmt.Sprint(e.(object)["name"]), func(t *testing.T) {
				if err := asyncAPI().check("/components/messages/"+kind+"/payload", payload); err != nil {
					t.Error(err)
				}
				sendExample(t, n, kind, payload)
			})
		}
	}
}

func sendExample(t *testing.T, n *node, kind string, payload object) {
	s := n.dial(t, nil)
	if kind != protocol.TypeJoin {
		s.send(join)
		joined := s.expect("joined")
		s.send(`{"type":"renew"}`) // causes bundle 2, which the examples ack
		s.expect("token-privilege-will-expire")
		if kind == protocol.TypeResume {
			s = n.dial(t, nil)
			payload["session"], payload["key"] = joined["session"], joined["key"]
		}
	}
	s.send(asJSON(payload))
	switch kind {
	case protocol.TypeJoin, protocol.TypeResume:
		s.expect("joined")
	case protocol.TypeRenew, protocol.TypeNack:
		s.expect("token-privilege-will-expire")
	case protocol.TypePing:
		s.expect("pong")
	case protocol.TypeLeave:
		s.expect("ended")
		s.closed(protocol.CloseLeft)
	case protocol.TypeAck: // an ack has no answer, so the first answer is the pong
		s.send(`{"type":"ping"}`)
		s.expect("pong")
	default:
		t.Errorf("this test does not know what follows on %s", kind)
	}
}

// TestJoinSchemaIsTheService checks that the schema of a join and the service accept the same
// messages.
func TestJoinSchemaIsTheService(t *testing.T) {
	t.Parallel()
	n := startNode(t, "")
	long := func(n int) string { return strings.Repeat("x", n) }
	joins := []string{
		`{"type":"join"}`, `{"type":"join","rtc":{}}`, `{"type":"join","rtc":{"channel":"c"}}`, `{"type":"join","rtc":{"uid":1}}`,
		`{"type":"join","rtc":{"channel":"c","uid":1,"account":"a"}}`, `{"type":"join","rtc":{"channel":"","uid":1}}`,
		`{"type":"join","rtc":{"channel":7,"uid":1}}`, `{"type":"join","rtc":{"channel":"` + long(64) + `","uid":1}}`,
		`{"type":"join","rtc":{"channel":"` + long(65) + `","uid":1}}`, `{"type":"join","rtc":{"channel":"c","uid":-1}}`,
		`{"type":"join","rtc":{"channel":"c","uid":0}}`, `{"type":"join","rtc":{"channel":"c","uid":4294967295}}`,
		`{"type":"join","rtc":{"channel":"c","uid":4294967296}}`, `{"type":"join","rtc":{"channel":"c","uid":1.5}}`,
		`{"type":"join","rtc":{"channel":"c","uid":"1"}}`, `{"type":"join","rtc":{"channel":"c","account":""}}`,
		`{"type":"join","rtc":{"channel":"c","account":1}}`, `{"type":"join","rtc":{"channel":"c","account":"` + long(255) + `"}}`,
		`{"type":"join","rtc":{"channel":"c","account":"` + long(256) + `"}}`,
		`{"type":"join","rtc":{"channel":"c","uid":1,"role":"publisher"}}`,
		`{"type":"join","rtc":{"channel":"c","uid":1,"role":"subscriber"}}`,
		`{"type":"join","rtc":{"channel":"c","uid":1,"role":"audience"}}`, `{"type":"join","rtc":{"channel":"c","uid":1,"role":1}}`,
		`{"type":"join","rtc":"c"}`, `{"type":"join","rtm":{}}`, `{"type":"join","rtm":{"userId":"null"}}`,
		`{"type":"join","rtm":{"userId":"nulls"}}`, `{"type":"join","rtm":{"userId":"a_"}}`,
		`{"type":"join","rtm":{"userId":"` + long(64) + `"}}`, `{"type":"join","rtm":{"userId":"` + long(65) + `"}}`,
		`{"type":"join","chat":{}}`, `{"type":"join","chat":{"userId":""}}`, `{"type":"join","chat":{"userId":"` + long(64) + `"}}`,
		`{"type":"join","chat":{"userId":"` + long(65) + `"}}`, `{"type":"join","chat":{"userId":"u"},"ttl":0}`,
		`{"type":"join","chat":{"userId":"u"},"ttl":1}`, `{"type":"join","chat":{"userId":"u"},"ttl":10}`,
		`{"type":"join","chat":{"userId":"u"},"ttl":86400}`, `{"type":"join","chat":{"userId":"u"},"ttl":86401}`,
		`{"type":"join","chat":{"userId":"u"},"ttl":"60"}`, `{"type":"join","chat":{"userId":"u"},"ttl":10.5}`,
		`{"type":"join","chat":{"userId":"u"},"auth":"x","another":{}}`, `{"type":"join","chat":{"userId":"u"},"auth":1}`,
		// These names lead to the longest possible key.
		fmt.Sprintf(`{"type":"join","rtc":{"channel":%q,"account":%q},"rtm":{"userId":%q},"chat":{"userId":%q}}`,
			strings.Repeat("<", 64), strings.Repeat("<", 255), strings.Repeat("<", 64), long(64)),
	}
	for _, form := range []string{
		`{"type":"join","rtc":{"channel":%s,"uid":1}}`, `{"type":"join","rtc":{"channel":"c","account":%s}}`,
		`{"type":"join","rtm":{"userId":%s}}`, `{"type":"join","chat":{"userId":%s}}`,
	} {
		joins = append(joins, joinsWith(form)...)
	}
	for _, text := range joins {
		s := n.dial(t, nil)
		s.send(text)
		m, _ := s.hear()
		refused := asyncAPI().check("/components/messages/join/payload", parse([]byte(text)))
		if (m["type"] == "joined") != (refused == nil) {
			t.Errorf("%s: the service says %v; the schema: %v", text, m, refused)
		}
		s.lose()
	}
}

// joinsWith returns joins that try each character in a name: the characters that the schema accepts share joins, but
// each refused character has joins of its own.
func joinsWith(form string) (joins []string) {
	characters := strings.Split("\x00\x1f\x7fé☎😀", "")
	for c := ' '; c <= '~'; c++ {
		characters = append(characters, string(c))
	}
	good := "a"
	for _, c := range characters {
		text := fmt.Sprintf(form, asJSON("a"+c))
		if asyncAPI().check("/components/messages/join/payload", parse([]byte(text))) != nil {
			joins = append(joins, text, fmt.Sprintf(form, asJSON(c)))
			continue
		}
		if good += c; len(good) == 60 {
			joins = append(joins, fmt.Sprintf(form, asJSON(good)))
			good = "a"
		}
	}
	return append(joins, fmt.Sprintf(form, asJSON(good)), fmt.Sprintf(form, `"_a"`))
}

// TestOtherSchemasAreTheService is TestJoinSchemaIsTheService for all other messages of clients.
func TestOtherSchemasAreTheService(t *testing.T) {
	t.Parallel()
	n := startNode(t, "")
	for _, text := range []string{
		`{"type":"ack","seq":1}`, `{"type":"ack"}`, `{"type":"ack","seq":-1}`, `{"type":"ack","seq":1.5}`,
		`{"type":"ack","seq":"1"}`, `{"type":"ack","seq":9007199254740991}`,
		`{"type":"nack","seq":1}`, `{"type":"nack"}`, `{"type":"nack","seq":1,"code":true}`, `{"type":"nack","seq":1,"code":1.5}`,
		`{"type":"nack","seq":1,"code":"X","message":"m"}`, `{"type":"nack","seq":1,"message":1}`,
		`{"type":"renew"}`, `{"type":"renew","another":1}`, `{"type":"leave"}`, `{"type":"ping"}`,
	} {
		s := n.dial(t, nil)
		s.send(join)
		s.expect("joined")
		s.send(text)
		s.send(`{"type":"ping"}`)
		m, _ := s.hear()
		kind := parse([]byte(text)).(object)["type"].(string)
		refused := asyncAPI().check("/components/messages/"+kind+"/payload", parse([]byte(text)))
		// The service refuses an ack of a future bundle, although its form is valid.
		took := m["type"] != "error" || strings.Contains(fmt.Sprint(m["message"]), "not sent yet")
		if took != (refused == nil) {
			t.Errorf("%s: the service says %v; the schema: %v", text, m, refused)
		}
		s.lose()
	}
	first := n.dial(t, nil)
	first.send(join)
	joined := first.expect("joined")
	for _, rest := range []string{
		``, `,"seq":0`, `,"seq":1,"expiresAt":0`, `,"seq":-1`, `,"seq":1.5`, `,"seq":4503599627370496`, `,"seq":4503599627370497`,
		`,"expiresAt":"1"`, `,"expiresAt":1.5`, `,"key":7`,
	} {
		text := resumeOf(joined, rest)
		// Each message needs a new node: a node that knows the session would continue from the highest seq.
		n := startNode(t, "")
		s := n.dial(t, nil)
		s.send(text)
		m, _ := s.hear()
		refused := asyncAPI().check("/components/messages/resume/payload", parse([]byte(text)))
		if (m["type"] == "joined") != (refused == nil) {
			t.Errorf("%s: the service says %v; the schema: %v", text, m, refused)
		}
		s.lose()
	}
}

// TestHandshakes checks the HTTP statuses of WebSocket handshakes.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	n := startNode(t, "")
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	with := func(header ...string) []string { return slices.Concat(upgrade, header) }
	text := readFile(t, "docs/build/protocol.md")
	for status, header := range map[int][]string{
		101: with("Origin", n.public(), "Sec-WebSocket-Protocol", "another, refresher.v1"),
		400: with("Sec-WebSocket-Version", "12"),
		403: with("Origin", "https://elsewhere.example.com"),
		426: nil,
	} {
		r := n.handshake(t, header)
		if r.status != status {
			t.Errorf("%v: %d, want %d", header, r.status, status)
		}
		if !strings.Contains(section(text, "The connection"), fmt.Sprint(status)) {
			t.Errorf("protocol.md does not have the status %d", status)
		}
		if status == 101 && r.header.Get("Sec-WebSocket-Protocol") != fmt.Sprint(asyncAPI().at("/channels/session")["x-subprotocol"]) {
			t.Errorf("subprotocol %q", r.header.Get("Sec-WebSocket-Protocol"))
		}
	}
	if r := n.handshake(t, upgrade); r.status != 101 || r.header.Get("Sec-WebSocket-Protocol") != "" {
		t.Errorf("without a subprotocol: %+v", r)
	}
}

// handshake requests a WebSocket, closes it, and returns the reply.
func (n *node) handshake(t *testing.T, header []string) reply {
	return n.request(t, "GET", n.public()+"/v1/ws", "", header...)
}

// TestKeys checks which keys resume a session, as protocol.md describes it.
func TestKeys(t *testing.T) {
	t.Parallel()
	n := startNode(t, "")
	resume := func(n *node, joined object) (*socket, object) { // resumes a session with the key of a joined message
		s := n.dial(t, nil)
		s.send(resumeOf(joined, `,"seq":1`))
		m, _ := s.hear()
		return s, m
	}
	refused := func(why string, m object) {
		t.Helper()
		if m["type"] != "ended" || m["reason"] != "superseded" {
			t.Errorf("%s: got %v", why, m)
		}
	}
	first := n.dial(t, nil)
	first.send(join)
	one := first.expect("joined")

	// An ack proves that the client has a key only if it acks the bundle that came with the key, or a later bundle.
	s, two := resume(n, one)
	s.send(`{"type":"ack","seq":1}`)
	s.send(`{"type":"ping"}`)
	s.expect("pong")
	s, three := resume(n, one)
	if three["type"] != "joined" {
		t.Fatalf("an ack of older tokens has proven the key that came after them: %v", three)
	}
	s.send(`{"type":"renew"}`)
	later := s.expect("token-privilege-will-expire")
	s.send(fmt.Sprintf(`{"type":"ack","seq":%v}`, later["seq"]))
	s.send(`{"type":"ping"}`)
	s.expect("pong")
	_, m := resume(n, one)
	refused("the first key, after an ack of tokens that came after the third", m)
	_, m = resume(n, two)
	refused("the second key, likewise", m)

	// A renewal over HTTP also proves that the client has the key.
	_, four := resume(n, three)
	address, bearer := n.public()+fmt.Sprintf("/v1/sessions/%v/renew", one["session"]), func(joined object) string {
		return fmt.Sprintf("Bearer %v", joined["key"])
	}
	if r := n.request(t, "POST", address, "", "Authorization", bearer(three)); r.status != 200 {
		t.Errorf("the third key, while the fourth is not proven: %d %s", r.status, r.body)
	}
	if r := n.request(t, "POST", address, "", "Authorization", bearer(four)); r.status != 200 {
		t.Errorf("the fourth key: %d %s", r.status, r.body)
	}
	if r := n.request(t, "POST", address, "", "Authorization", bearer(three)); r.status != 410 {
		t.Errorf("the third key, after a use of the fourth: %d %s", r.status, r.body)
	}

	// A node that has no record of the session accepts any of its keys.
	if _, m := resume(startNode(t, ""), one); m["type"] != "joined" {
		t.Errorf("the first key, elsewhere: %v", m)
	}
}

// TestRenewalOverHTTPIsPushedToo checks that a bundle which was requested over HTTP is also pushed on the connection,
// until it is acked.
func TestRenewalOverHTTPIsPushedToo(t *testing.T) {
	t.Parallel()
	n := startNode(t, "ack-timeout=200ms")
	s := n.dial(t, nil)
	s.send(join)
	joined := s.expect("joined")
	r := n.request(t, "POST", n.public()+fmt.Sprintf("/v1/sessions/%v/renew", joined["session"]), "", "Authorization", fmt.Sprintf("Bearer %v", joined["key"]))
	fetched := parse(r.body).(object)
	pushed := s.expect("token-privilege-will-expire")
	if diff := cmp.Diff(fetched["tokens"], pushed["tokens"]); diff != "" || fmt.Sprint(pushed["attempt"]) != "2" {
		t.Errorf("fetched %s, pushed %v", r.body, pushed)
	}
}

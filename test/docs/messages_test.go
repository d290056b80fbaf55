package docs

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/agora"
	"refresher/internal/protocol"
	"refresher/internal/session"
)

const join = `{"type":"join","rtc":{"channel":"daily","uid":1001},"rtm":{"userId":"ana"},"chat":{"userId":"ana"}}`

// resumeOf returns the resume message for a message `joined`. The text `rest` has further fields.
func resumeOf(joined object, rest string) string {
	return fmt.Sprintf(`{"type":"resume","session":%q,"key":%q%s}`, joined["session"], joined["key"], rest)
}

// unheard lists documented values that the service does not send in these tests.
var unheard = map[string][]string{
	// The error "internal" means that the service failed.
	"error.code": {"internal"},
	// The service never sends 1001 and 1006, and never sends 4002 in a frame. 1011 means that the service failed. 4408
	// is sent only after 10 s, too long for these tests: internal/ws tests it with simulated time.
	"close": {"1001", "1006", "1011", "4002", "4408"},
}

// TestServerSaysWhatIsDocumented executes the transcripts and the scenarios. The type socket checks every message of
// the service against asyncapi.yaml. Every type, cause, reason, error and close code of asyncapi.yaml must occur.
func TestServerSaysWhatIsDocumented(t *testing.T) {
	t.Parallel()
	seen := record{said: make(map[string]map[string]bool)}
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
		if diff := cmp.Diff(without(said, unheard[what]), names(seen.said[what])); diff != "" {
			t.Errorf("%s: documented (-), said by the service (+):\n%s", what, diff)
		}
	}
}

func closeCodes() map[string]object {
	codes := make(map[string]object)
	for _, c := range anyList(asyncAPI().at("/channels/session")["x-close-codes"]) {
		codes[fmt.Sprint(c.(object)["code"])] = c.(object)
	}
	return codes
}

// TestClientSchemas checks that the schemas of clients' messages accept exactly the messages that the service accepts,
// among them the examples of asyncapi.yaml.
func TestClientSchemas(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n) }
	messages := []string{
		`{"type":"join"}`, `{"type":"join","rtc":"c"}`, `{"type":"join","chat":{"userId":"u"},"auth":"x","another":{}}`,
		`{"type":"join","chat":{"userId":"u"},"auth":1}`,
		`{"type":"ack","seq":1}`, `{"type":"ack"}`, `{"type":"ack","seq":-1}`, `{"type":"ack","seq":1.5}`,
		`{"type":"ack","seq":"1"}`, `{"type":"ack","seq":9007199254740991}`,
		`{"type":"nack","seq":1}`, `{"type":"nack"}`, `{"type":"nack","seq":1,"code":true}`,
		`{"type":"nack","seq":1,"code":"X","message":"m"}`, `{"type":"nack","seq":1,"message":1}`,
		`{"type":"renew"}`, `{"type":"renew","another":1}`, `{"type":"leave"}`, `{"type":"ping"}`,
	}
	for _, rtc := range []string{
		``, `"channel":"c"`, `"uid":1`, `"channel":"c","uid":1,"account":"a"`, `"channel":"","uid":1`, `"channel":7,"uid":1`,
		`"channel":"` + long(64) + `","uid":1`, `"channel":"` + long(65) + `","uid":1`,
		`"channel":"c","uid":-1`, `"channel":"c","uid":0`, `"channel":"c","uid":4294967295`, `"channel":"c","uid":4294967296`,
		`"channel":"c","uid":1.5`, `"channel":"c","uid":"1"`, `"channel":"c","account":""`, `"channel":"c","account":1`,
		`"channel":"c","account":"` + long(255) + `"`, `"channel":"c","account":"` + long(256) + `"`,
		`"channel":"c","uid":1,"role":"publisher"`, `"channel":"c","uid":1,"role":"audience"`, `"channel":"c","uid":1,"role":1`,
	} {
		messages = append(messages, `{"type":"join","rtc":{`+rtc+`}}`)
	}
	for _, user := range []string{`""`, `"null"`, `"nulls"`, `"a_"`, `"_a"`, `1`, `"` + long(64) + `"`, `"` + long(65) + `"`} {
		messages = append(messages, `{"type":"join","rtm":{"userId":`+user+`}}`, `{"type":"join","chat":{"userId":`+user+`}}`)
	}
	for _, ttl := range []string{`0`, `10`, `86400`, `86401`, `"60"`, `10.5`} {
		messages = append(messages, `{"type":"join","chat":{"userId":"u"},"ttl":`+ttl+`}`)
	}
	for _, rest := range []string{`"session":"S"`, `"key":"K"`, `"session":"S","key":7`} {
		messages = append(messages, `{"type":"resume",`+rest+`}`)
	}
	for _, rest := range []string{
		``, `,"seq":0`, `,"seq":1,"expiresAt":0`, `,"seq":-1`, `,"seq":1.5`, `,"expiresAt":"1"`, `,"expiresAt":1.5`,
		fmt.Sprint(`,"seq":`, session.MaxSeq), fmt.Sprint(`,"seq":`, session.MaxSeq+1),
	} {
		messages = append(messages, `{"type":"resume","session":"S","key":"K"`+rest+`}`)
	}
	characters := strings.Split("\x00\x1f\x7fé☎😀", "")
	for c := ' '; c <= '~'; c++ {
		characters = append(characters, string(c))
	}
	for _, c := range characters {
		for _, form := range []string{
			`{"type":"join","rtc":{"channel":%s,"uid":1}}`, `{"type":"join","rtc":{"channel":"c","account":%s}}`,
			`{"type":"join","rtm":{"userId":%s}}`, `{"type":"join","chat":{"userId":%s}}`,
		} {
			messages = append(messages, fmt.Sprintf(form, asJSON(c)), fmt.Sprintf(form, asJSON("a"+c)))
		}
	}
	for _, kind := range fromClient() {
		examples := anyList(asyncAPI().at("/components/messages/" + kind)["examples"])
		for _, e := range examples {
			text := asJSON(e.(object)["payload"])
			if messages = append(messages, text); accepts(text) != nil {
				t.Errorf("the example %s is not accepted: %v", text, accepts(text))
			}
		}
		if len(examples) == 0 {
			t.Errorf("%s has no example", kind)
		}
	}
	for _, text := range messages {
		service := accepts(text)
		kind := parse([]byte(text)).(object)["type"].(string)
		schema := asyncAPI().check("/components/messages/"+kind+"/payload", parse([]byte(text)))
		if (service == nil) != (schema == nil) {
			t.Errorf("%s: the service: %v; the schema: %v", text, service, schema)
		}
	}
}

func accepts(text string) error {
	m, malformed := protocol.DecodeClient([]byte(text))
	if malformed != nil {
		return malformed
	}
	var refused *session.Error
	switch m.Type {
	case protocol.TypeJoin:
		var j session.Join
		if j, refused = m.Join(); refused == nil {
			return agora.Validate(j.Identity)
		}
	case protocol.TypeResume:
		var r session.Resume
		if r, refused = m.Resume(); refused == nil && r.Seq > session.MaxSeq {
			return errors.New("the seq is too large")
		}
	case protocol.TypeAck, protocol.TypeNack:
		_, refused = m.Answer()
	}
	if refused != nil {
		return refused
	}
	return nil
}

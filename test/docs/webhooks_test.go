package docs

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

// TestWebhooksAreDocumented compares openapi.yaml with the golden files of internal/hook, which have the bodies that
// nodes send: the schemas must accept them, and must have exactly their fields.
func TestWebhooksAreDocumented(t *testing.T) {
	event, requests := "/components/schemas/Event", "/components/schemas/ApprovalRequests"
	fields := make(map[string]bool) // fields that occur in an event
	for _, kind := range session.EventTypes() {
		body := golden(t, strings.TrimPrefix(string(kind), "session."))
		if err := openAPI().check(event, body); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for name := range body {
			fields[name] = true
		}
	}
	if diff := cmp.Diff(names(fields), names(openAPI().at(event+"/properties"))); diff != "" {
		t.Errorf("events have (-), openapi.yaml has (+):\n%s", diff)
	}
	request := golden(t, "request")
	if err := openAPI().check(requests, request); err != nil {
		t.Error(err)
	}
	clear(fields)
	for _, entry := range anyList(request["requests"]) {
		for name := range entry.(object) {
			fields[name] = true
		}
	}
	if diff := cmp.Diff(names(fields), names(openAPI().at(requests+"/properties/requests/items/properties"))); diff != "" {
		t.Errorf("approval requests have (-), openapi.yaml has (+):\n%s", diff)
	}
}

// golden returns a golden file of internal/hook.
func golden(t *testing.T, name string) object {
	t.Helper()
	text, err := os.ReadFile("../../internal/hook/testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return parse(text).(object)
}

// TestWebhookExamples checks that the webhooks' examples fit their schemas, and that the schema of decisions refuses
// answers that a node would ignore.
func TestWebhookExamples(t *testing.T) {
	for name, schema := range map[string]string{"event": "Event", "approval": "ApprovalRequests"} {
		body := openAPI().at("/webhooks/" + name + "/post/requestBody/content/application~1json")
		if err := openAPI().check("/components/schemas/"+schema, body["example"]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	answer := openAPI().at("/webhooks/approval/post/responses/200/content/application~1json")
	if err := openAPI().check("/components/schemas/ApprovalDecisions", answer["example"]); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{`{"decisions":[{"id":"1"}]}`, `{"decisions":[{"id":"1","allow":true,"until":1800000000000}]}`, `{}`} {
		if openAPI().check("/components/schemas/ApprovalDecisions", parse([]byte(wrong))) == nil {
			t.Errorf("openapi.yaml takes %s, which counts as no answer", wrong)
		}
	}
}

package hook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

// TestRequest compares the JSON of an approval request with its golden file, since back ends depend on the
// format.
func TestRequest(t *testing.T) {
	var batch batch
	for i, q := range []Request{
		{
			Action: session.ActionJoin, App: "app", Subject: `ana "the <first>"`,
			Identity: session.Identity{
				RTC: &session.RTC{Channel: "daily", UID: 7, Role: session.Publisher},
				RTM: &session.RTM{UserID: "ana"}, Chat: &session.Chat{UserID: "ana"},
			},
		},
		{
			Action: session.ActionRenew, App: "app", Session: "S", Subject: "ana",
			Identity: session.Identity{RTC: &session.RTC{Channel: "daily", Account: "ana"}},
		},
		{
			Action: session.ActionResume, App: "app", Session: "T",
			Identity: session.Identity{RTC: &session.RTC{Channel: "daily"}}, // any uid
		},
	} {
		batch.approvals = append(batch.approvals, &pendingApproval{id: fmt.Sprintf("X-%d", i+1), text: encodeRequest(&q)})
	}
	body := batch.encode()
	var got bytes.Buffer
	if err := json.Indent(&got, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	path := filepath.Join("testdata", "request.json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

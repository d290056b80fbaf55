package hook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

// wantGolden compares the JSON of a webhook request with a golden file, since back ends depend on
// the format.
func wantGolden(t *testing.T, name string, body []byte) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Indent(&got, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	got.WriteByte('\n')
	path := filepath.Join("testdata", name+".json")
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
		t.Errorf("%s: %s", name, diff)
	}
}

var (
	everyService = session.Identity{
		RTC: &session.RTC{Channel: "daily", UID: 7, Role: session.Publisher},
		RTM: &session.RTM{UserID: "ana"}, Chat: &session.Chat{UserID: "ana"},
	}
	account = session.Identity{RTC: &session.RTC{Channel: "daily", Account: "ana"}}
	anyUID  = session.Identity{RTC: &session.RTC{Channel: "daily"}}
)

func TestEvents(t *testing.T) {
	const at = 1_800_000_000_250
	for _, e := range []session.Event{
		{ID: "S-joined", Type: session.EventJoined, At: at, App: "app", Session: "S", Subject: `ana "the <first>"`, Node: "a", Seq: 1, ExpiresAt: 1_800_003_600, Identity: everyService},
		{ID: "S-unreachable-12", Type: session.EventUnreachable, At: at, App: "app", Session: "S", Subject: "ana", Node: "a", Seq: 12, ExpiresAt: 1_800_000_300, Identity: account},
		{ID: "S-ended", Type: session.EventEnded, At: at, App: "app", Session: "S", Seq: 13, ExpiresAt: 1_800_003_600, Reason: session.EndLeft, Identity: anyUID},
		{ID: "S-expired-13", Type: session.EventExpired, At: at, App: "app", Session: "S", Identity: session.Identity{RTM: &session.RTM{UserID: "ana"}}},
	} {
		wantGolden(t, strings.TrimPrefix(string(e.Type), "session."), encodeEvent(&e))
	}
}

func TestRequest(t *testing.T) {
	var batch batch
	for i, q := range []Request{
		{Action: session.ActionJoin, App: "app", Subject: `ana "the <first>"`, Identity: everyService},
		{Action: session.ActionRenew, App: "app", Session: "S", Subject: "ana", Identity: account},
		{Action: session.ActionResume, App: "app", Session: "T", Identity: anyUID},
	} {
		batch.approvals = append(batch.approvals, &pendingApproval{id: fmt.Sprintf("X-%d", i+1), text: encodeRequest(&q)})
	}
	wantGolden(t, "request", batch.encode())
}

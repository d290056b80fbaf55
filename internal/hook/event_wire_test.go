package hook

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refresher/internal/session"
)

// TestEvents compares the JSON of each event type with its golden file, since receivers depend on the format.
func TestEvents(t *testing.T) {
	const at = 1_800_000_000_250
	for _, e := range []session.Event{
		{
			ID: "S-joined", Type: session.EventJoined, At: at, App: "app", Session: "S", Subject: `ana "the <first>"`, Node: "a", Seq: 1, ExpiresAt: 1_800_003_600,
			Identity: session.Identity{
				RTC: &session.RTC{Channel: "daily", UID: 7, Role: session.Publisher},
				RTM: &session.RTM{UserID: "ana"}, Chat: &session.Chat{UserID: "ana"},
			},
		},
		{
			ID: "S-unreachable-12", Type: session.EventUnreachable, At: at, App: "app", Session: "S", Subject: "ana", Node: "a", Seq: 12, ExpiresAt: 1_800_000_300,
			Identity: session.Identity{RTC: &session.RTC{Channel: "daily", Account: "ana"}},
		},
		{
			ID: "S-ended", Type: session.EventEnded, At: at, App: "app", Session: "S", Seq: 13, ExpiresAt: 1_800_003_600, Reason: session.EndLeft,
			Identity: session.Identity{RTC: &session.RTC{Channel: "daily"}}, // any uid
		},
		{
			ID: "S-expired-13", Type: session.EventExpired, At: at, App: "app", Session: "S",
			Identity: session.Identity{RTM: &session.RTM{UserID: "ana"}},
		},
	} {
		var got bytes.Buffer
		if err := json.Indent(&got, encodeEvent(&e), "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		path := filepath.Join("testdata", strings.TrimPrefix(string(e.Type), "session.")+".json")
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
			t.Errorf("%s: %s", e.Type, diff)
		}
	}
}

package chaos

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"refresher/test/redistest"
)

// A node that is stopped by SIGSTOP applies an operator's changes to its sessions when it continues. Until then, the
// answer to the operator says that the node has not confirmed the change.
func TestChangesOfPausedNode(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	w := newWorld(t, 2, ttl, "--redis-url="+redis.URL())
	w.calls.AwaitRenewals(w.calls.Mark(), 1)
	paused, other := w.fleet[0], w.fleet[1]

	status, text := ask(t, other, http.MethodGet, "/v1/sessions?limit=200", "")
	var page struct{ Sessions []struct{ ID string } }
	if err := json.Unmarshal([]byte(text), &page); err != nil || len(page.Sessions) == 0 {
		t.Fatalf("listed: %d %s", status, text)
	}
	w.fault("%s is paused", paused.Name())
	paused.Pause()
	left := 0 // the number of changes that the paused node has not applied yet
	for _, session := range page.Sessions {
		status, text := ask(t, other, http.MethodPatch, "/v1/sessions/"+session.ID, `{"renew": true}`)
		unconfirmed := strings.Contains(text, `"applied":false`) && strings.Contains(text, "has not confirmed yet")
		if status != http.StatusOK || !unconfirmed && !strings.Contains(text, `"applied":true`) {
			t.Errorf("changed: %d %s", status, text)
		}
		if unconfirmed {
			left++
		}
		if left == 2 { // two changes for the paused node are enough, since each request waits up to a second for its answer
			break
		}
	}
	if left == 0 {
		t.Fatal("the node that is paused had no session")
	}
	paused.Resume()
	paused.Await(left, "operator's change read from Redis")
	w.calls.AwaitRenewals(w.calls.Mark(), 1)
	w.verdict(on(redis))
}

package chaos

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"refresher/test/nodetest"
	"refresher/test/nodetest/calls"
	"refresher/test/redistest"
)

// A node starts while Redis refuses every write but answers reads. The node reads the revocations, accepts calls, and
// reports that it is degraded. When Redis accepts writes again, the node writes the calls' sessions to Redis.
func TestNodeStartsWhileRedisRefusesWrites(t *testing.T) {
	t.Parallel()
	for _, why := range redistest.Refusals {
		t.Run(string(why), func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t)
			before := nodetest.StartFleet(t, 1, "--redis-url="+redis.URL())[0]
			if status, text := ask(t, before, http.MethodPost, "/v1/revocations", `{"account": "banned", "for": 600}`); status != http.StatusOK {
				t.Fatalf("revoke: %d %s", status, text)
			}
			before.Stop()

			redis.RefuseWrites(why)
			fleet := nodetest.StartFleet(t, 1, "--redis-url="+redis.URL())
			node := fleet[0]
			node.Await(1, storeAway)
			if status, text := node.Get("/readyz"); status != http.StatusOK || !strings.Contains(text, "degraded") {
				t.Errorf("/readyz answers %d, %q; want 200 and degraded", status, text)
			}
			for account, want := range map[string]int{"banned": http.StatusForbidden, "welcome": http.StatusOK} {
				if status, text := ask(t, node, http.MethodGet, "/rtm/"+account, ""); status != want {
					t.Errorf("token for %s: %d %s; want %d", account, status, text, want)
				}
			}
			held := calls.Hold(t, calls.Config{Count: callers, TTL: ttl, URL: serviceURL, Transport: fleet.Transport})
			held.AwaitRenewals(held.Mark(), 1)

			node.Mark()
			redis.AcceptWrites(why)
			node.Await(1, storeBack)
			w := &world{t: t, fleet: fleet, calls: held}
			w.demandStoreUp(true)
			back := held.Mark()
			held.AwaitRenewals(back, 1)
			w.demandStored(on(redis))
			w.demandConnected(back)
		})
	}
}

func ask(t *testing.T, n *nodetest.Node, method, path, body string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+n.Addr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true // an idle connection would outlive the test, and its goroutines would count as leaked
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

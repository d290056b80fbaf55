package api_test

import (
	"net/http"
	"strings"
	"testing"

	"refresher/internal/app/apptest"
)

// A malformed query is refused. If its malformed parts were ignored, the answer would be a different
// one, such as a token with another lifetime or other users' sessions.
func TestMalformedQueries(t *testing.T) {
	n := apptest.StartNode(t, apptest.WithCredentials)
	ops := []string{"Authorization", "Bearer " + apptest.Pass(nil)}
	for _, request := range []apptest.Request{
		apptest.Get("/ping"),
		apptest.Get("/rtc/c/publisher/uid/7/"),
		apptest.Get("/rtm/ana"),
		apptest.Get("/rte/c/publisher/uid/7"),
		apptest.Get("/chat/app"),
		apptest.Get("/chat/account/ana"),
		apptest.Post("/getToken", `{"tokenType":"rtm","uid":"ana"}`),
		apptest.Post("/fetch_rtc_token", `{"uid":1,"ChannelName":"c","role":1}`),
		apptest.Get("/v1/sessions"),
		apptest.Get("/v1/revocations"),
		apptest.Ask("DELETE", "/v1/sessions/x", ""),
		apptest.Post("/v1/revocations", "{}"),
		apptest.Post("/v1/sessions/x/renew", ""),
	} {
		for query, message := range map[string]string{
			"expiry=60;x=1":         "not well formed",
			"expiry=60%zz":          "not well formed",
			"uid=%zz":               "not well formed",
			"uid=%":                 "not well formed",
			"expiry=60&expiry=7200": `has \"expiry\" 2 times`,
			"uid=1&a=b&uid=1":       `has \"uid\" 2 times`,
		} {
			response, text := n.Do(request.Method, request.Path+"?"+query, request.Body, ops...)
			if response.StatusCode != http.StatusBadRequest || !strings.HasPrefix(text, `{"error":"query: `+message) {
				t.Errorf("%s ?%s: %d %s", request, query, response.StatusCode, text)
			}
		}
	}
	for _, query := range []string{"expiry=60", "expiry=6%30", "a=b&expiry=60&c", "a=%3B&&expiry=60", "=&expiry=60"} {
		if response, text := n.Do(http.MethodGet, "/rtm/ana?"+query, "", ops...); response.StatusCode != http.StatusOK {
			t.Errorf("?%s: %d %s", query, response.StatusCode, text)
		}
	}
}

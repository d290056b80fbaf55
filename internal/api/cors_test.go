package api

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"refresher/internal/origin"
)

// A page of an allowed origin can read every answer, including errors about the URL of the request.
// Without the CORS headers, the browser would report only "blocked by CORS policy".
func TestAllowedPagesReadEveryAnswer(t *testing.T) {
	const page = "https://app.example"
	local := new(origin.Checker) // marks a case: the loop replaces this Checker by one with LocalOnly
	normal := func(*Config) {}
	under := func(c *Config) {
		c.BasePath, c.Page = "/calls", http.NotFoundHandler()
	}
	for _, c := range []struct {
		name, method, path string
		header             []string
		change             func(c *Config)
		status             int
	}{
		{"no such endpoint", "GET", "/rtc/c/publisher/7", nil, normal, 404},
		{"a slash too many under /v1", "GET", "/v1//sessions", nil, normal, 404},
		{"a slash too many before /v1", "POST", "//v1/sessions/s/renew", nil, normal, 404},
		{"an escaped slash", "GET", "/rtc%2Fc/publisher/uid/7", nil, normal, 404},
		{"another method", "DELETE", "/rtm/ana", nil, normal, 405},
		{"a malformed query", "POST", "/v1/sessions/s/renew?a=%zz", nil, normal, 400},
		{"no key", "POST", "/v1/sessions/s/renew", nil, normal, 401},
		{"too many requests", "POST", "/v1/sessions/s/renew", nil, func(c *Config) { c.Access = crowded{} }, 429},
		{"outside of the base path", "GET", "/rtm/ana", nil, under, 404},
		{"the base path without its slash", "GET", "/calls", nil, under, 308},
		{"under the page", "GET", "/calls/nowhere", nil, under, 404},
		{"no endpoint with a credential in the path", "GET", "/with/x/nowhere", nil, func(c *Config) { c.CredentialInPath = true }, 404},
		{"two credentials", "GET", "/with/x/rtm/ana", []string{"Authorization", "Bearer y"}, func(c *Config) { c.CredentialInPath = true }, 400},
		{"not this machine", "GET", "/rtm/ana", nil, func(c *Config) { c.Origins = local }, 421},
		{"a plain request for the WebSocket", "GET", "/v1/ws", nil, normal, 426},
		{"a preflight of what is no endpoint", "OPTIONS", "/rtc/c//7", []string{"Access-Control-Request-Method", "GET"}, normal, 204},
		{"a preflight of a slash too many", "OPTIONS", "/v1//sessions", []string{"Access-Control-Request-Method", "GET"}, normal, 204},
		{"a preflight outside of the base path", "OPTIONS", "/rtm/ana", []string{"Access-Control-Request-Method", "GET"}, under, 204},
		{"a preflight with the page", "OPTIONS", "/calls/nowhere", []string{"Access-Control-Request-Method", "GET"}, under, 204},
		{"no preflight", "OPTIONS", "/nowhere", nil, normal, 404},
	} {
		for _, from := range []string{page, "https://evil.example", ""} {
			t.Run(fmt.Sprintf("%s from %q", c.name, from), func(t *testing.T) {
				conf := config(t)
				c.change(&conf)
				registry := prometheus.NewRegistry()
				origins, err := origin.New(origin.Config{
					Allowed: []string{page}, LocalOnly: conf.Origins == local, Logger: conf.Logger, Registerer: registry,
				})
				if err != nil {
					t.Fatal(err)
				}
				conf.Origins = origins
				header := c.header
				if from != "" {
					header = append(slices.Clip(header), "Origin", from)
				}
				w := answer(t, conf, c.method+" "+c.path, header...)
				status := c.status
				switch {
				case from == "" && status == http.StatusNoContent:
					status = http.StatusNotFound // a request without an Origin is no preflight, so it gets the 404 of an unknown path
				case from != "" && from != page && status == http.StatusUpgradeRequired:
					status = http.StatusForbidden
				}
				if w.Code != status {
					t.Errorf("%d %s, want %d", w.Code, w.Body, status)
				}
				want := map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Expose-Headers": "", "Access-Control-Allow-Headers": ""}
				if from == page {
					want["Access-Control-Allow-Origin"], want["Access-Control-Expose-Headers"] = page, "Retry-After"
					if c.status == http.StatusNoContent {
						want["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Requested-With"
					}
				}
				for name, value := range want {
					if got := w.Header().Get(name); got != value {
						t.Errorf("%s %q, want %q", name, got, value)
					}
				}
				if n := len(slices.DeleteFunc(w.Header().Values("Vary"), func(v string) bool { return v != "Origin" })); n != 1 {
					t.Errorf("Vary has Origin %d times", n)
				}
				if from != "" && from != page {
					if families, err := registry.Gather(); err != nil || families[0].GetMetric()[0].GetCounter().GetValue() != 1 {
						t.Errorf("refused pages counted: %v, %v", families, err)
					}
				}
			})
		}
	}
}

//go:build !race

package api_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
)

// pathClaims returns the claims of a credential that is accepted in a path.
func pathClaims(change map[string]any) map[string]any {
	c := map[string]any{"scope": nil, "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(c, change)
	return c
}

func takesPaths(c *app.Config) {
	apptest.WithCredentials(c)
	c.CredentialInPath = true
}

// Each of Agora's UIKits and samples gets tokens with a credential in its base URL.
func TestCredentialInPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, takesPaths)
		base := "/with/" + apptest.Pass(pathClaims(nil))
		for request, want := range map[apptest.Request]map[string]apptest.Opens{
			apptest.Get("/rtc/daily/publisher/uid/7/"):                                                      {"rtcToken": apptest.V007(apptest.RTC("daily", "7", 1, 2, 3, 4))},          // React
			apptest.Get("/rtc/daily/publisher/uid/0/"):                                                      {"rtcToken": apptest.V007(apptest.RTC("daily", "", 1, 2, 3, 4))},           // iOS
			apptest.Get("/rtc/daily/publisher/uid/-1/"):                                                     {"rtcToken": apptest.V007(apptest.RTC("daily", "4294967295", 1, 2, 3, 4))}, // Android
			apptest.Get("/rtc/daily/publisher/uid/7"):                                                       {"rtcToken": apptest.V007(apptest.RTC("daily", "7", 1, 2, 3, 4))},          // React Native
			apptest.Get("/rtc/a!b:c/publisher/uid/8"):                                                       {"rtcToken": apptest.V007(apptest.RTC("a!b:c", "8", 1, 2, 3, 4))},          // Flutter
			apptest.Get("/rtm/ana"):                                                                         {"rtmToken": apptest.V007(apptest.RTM("ana", 1))},
			apptest.Get("//rtc/daily/publisher/uid/7/"):                                                     {"rtcToken": apptest.V007(apptest.RTC("daily", "7", 1, 2, 3, 4))}, // a base URL that ends with a slash
			apptest.Get("/rtc/daily/2/uid/7?expiry=60"):                                                     {"rtcToken": apptest.V007(apptest.RTC("daily", "7", 1))},
			apptest.Post("/getToken", `{"tokenType":"rtc","channel":"daily","uid":"7","role":"publisher"}`): {"token": apptest.V007(apptest.RTC("daily", "7", 1, 2, 3, 4))},
		} {
			r, text := g.Visit(request.Method, base+request.Path, request.Body)
			if r.StatusCode != http.StatusOK {
				t.Errorf("%s: %d %s", request, r.StatusCode, text)
				continue
			}
			if got := tokensIn(t, text); !maps.Equal(got, want) {
				t.Errorf("%s: got %v, want %v", request, got, want)
			}
			if r.Header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(r.Header.Get("Cache-Control"), "no-store") {
				t.Errorf("%s: headers %v", request, r.Header)
			}
		}
		if r, _ := g.Visit(http.MethodHead, base+"/rtm/ana", ""); r.StatusCode != http.StatusOK {
			t.Errorf("HEAD: %d", r.StatusCode)
		}
		if r, _ := g.Visit(http.MethodOptions, base+"/getToken", ""); r.StatusCode != http.StatusNoContent {
			t.Errorf("preflight: %d", r.StatusCode)
		}
	})
}

// In a path only short-lived credentials of users are accepted, and only by the classic endpoints.
func TestCredentialInPathRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, takesPaths)
		rtc := apptest.Get("/rtc/daily/publisher/uid/7")
		const inPath, twice, alone = 1, 2, 0 // how many credentials precede the path
		for _, c := range []struct {
			credentials int
			request     apptest.Request
			change      map[string]any
			header      string
			status      int
			code        string
		}{
			{inPath, rtc, map[string]any{"scope": "admin"}, "", 403, "forbidden"},
			{inPath, rtc, map[string]any{"exp": time.Now().Add(61 * time.Minute).Unix()}, "", 403, "forbidden"},
			{inPath, rtc, map[string]any{"exp": time.Now().Add(365 * 24 * time.Hour).Unix()}, "", 403, "forbidden"},
			{inPath, rtc, map[string]any{"exp": time.Now().Add(time.Hour + 20*time.Second).Unix()}, "", 200, ""}, // another clock
			{inPath, rtc, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}, "", 401, "unauthenticated"},
			{inPath, rtc, map[string]any{"aud": "others"}, "", 401, "unauthenticated"},
			{inPath, rtc, map[string]any{"grants": map[string]any{}}, "", 403, "forbidden"},
			{inPath, rtc, nil, "Bearer " + apptest.Pass(nil), 400, "bad_request"},
			{inPath, rtc, nil, "Basic eDp5", 400, "bad_request"},
			{inPath, apptest.Get("/chat/app"), nil, "", 403, "forbidden"},
			{inPath, apptest.Get("/rtc/daily/publisher/uid/4294967296"), nil, "", 400, "bad_request"},
			{inPath, apptest.Post("/rtc/daily/publisher/uid/7", ""), nil, "", 405, "bad_request"},
			{inPath, apptest.Get("/ping"), nil, "", 404, "bad_request"},
			{inPath, apptest.Get("/"), nil, "", 404, "bad_request"},
			{inPath, apptest.Get(""), nil, "", 404, "bad_request"},
			{inPath, apptest.Get("/v1/ws"), nil, "", 404, "bad_request"},
			{inPath, apptest.Get("/v1/sessions"), nil, "", 404, "bad_request"},
			{inPath, apptest.Get("//v1/sessions"), nil, "", 404, "bad_request"},
			{inPath, apptest.Post("/v1/revocations", "{}"), nil, "", 404, "bad_request"},
			{inPath, apptest.Post("/v1/tokens/inspect", "{}"), nil, "", 404, "bad_request"},
			{inPath, apptest.Post("/v1/sessions/S/renew", ""), nil, "", 404, "bad_request"},
			{twice, apptest.Get("/rtc/daily/publisher/uid/7"), nil, "", 404, "bad_request"},
			{alone, apptest.Get("/with//rtc/daily/publisher/uid/7"), nil, "", 401, "unauthenticated"},
			{alone, apptest.Get("/with/nonsense/rtc/daily/publisher/uid/7"), nil, "", 401, "unauthenticated"},
			{alone, apptest.Get("/with"), nil, "", 404, "bad_request"},
		} {
			credential := apptest.Pass(pathClaims(c.change))
			c.request.Path = strings.Repeat("/with/"+credential, c.credentials) + c.request.Path
			var header []string
			if c.header != "" {
				header = []string{"Authorization", c.header}
			}
			a := g.Enter(c.request, "", header...)
			if a.Status != c.status || a.Code != c.code || strings.Contains(a.Body, credential) {
				t.Errorf("%s, %v: %d %s %s, want %d %s", c.request, c.change, a.Status, a.Code, a.Message, c.status, c.code)
			}
			if c.credentials > 0 && c.request.Path != "/with/"+credential && a.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: no Referrer-Policy", c.request)
			}
		}
		// A revocation applies to credentials in paths, too.
		g.Admin("POST", "/v1/revocations", `{"subject":"ana"}`, nil)
		if r, _ := g.Visit("GET", "/with/"+apptest.Pass(pathClaims(nil))+"/rtm/ana", ""); r.StatusCode != http.StatusForbidden {
			t.Errorf("revoked: %d", r.StatusCode)
		}
	})
}

// By default, a path with a credential is an unknown path.
func TestCredentialInPathIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.WithCredentials)
		for _, path := range []string{"/with/" + apptest.Pass(pathClaims(nil)) + "/rtc/daily/publisher/uid/7", "/any/" + apptest.Pass(pathClaims(nil)) + "/rtc/daily/publisher/uid/7"} {
			if r, text := g.Visit("GET", path, ""); r.StatusCode != http.StatusNotFound || !strings.Contains(text, `"no such endpoint"`) {
				t.Errorf("%.9s: %d %s", path, r.StatusCode, text)
			}
		}
	})
}

// Credentials in paths work together with a base path.
func TestCredentialInPathUnderBasePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			takesPaths(c)
			c.BasePath = "/calls"
		})
		credential := apptest.Pass(pathClaims(nil))
		for path, status := range map[string]int{
			"/calls/with/" + credential + "/rtm/ana": http.StatusOK,
			"/with/" + credential + "/rtm/ana":       http.StatusNotFound,
			"/with/" + credential + "/calls/rtm/ana": http.StatusNotFound,
		} {
			if r, text := g.Visit("GET", path, ""); r.StatusCode != status {
				t.Errorf("%s: %d %s", strings.Replace(path, credential, "{credential}", 1), r.StatusCode, text)
			}
		}
	})
}

// After all kinds of failing requests with a credential in the path, neither the debug log nor the
// metrics nor the answers contain it.
func TestCredentialInPathStaysOutOfLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, takesPaths)
		g.Level.Set(slog.LevelDebug)
		g.Log.Take() // discards the log so far
		var secrets []string
		use := func(credential string) string {
			secrets = append(secrets, strings.Split(credential, ".")...)
			return "/with/" + credential
		}
		good := use(apptest.Pass(pathClaims(nil)))
		for _, base := range []string{
			good, use(apptest.Pass(pathClaims(map[string]any{"exp": 1}))), use(apptest.Pass(pathClaims(map[string]any{"scope": "admin"}))),
			use(apptest.SignWith("a secret that is of another service", apptest.GoodClaims(pathClaims(nil)))), use("eyJub25zZW5zZSI6MX0.of.noKind"),
		} {
			for _, request := range []apptest.Request{
				apptest.Get("/rtc/daily/publisher/uid/7/"), apptest.Get("/rtc/daily/nobody/uid/7/"), apptest.Get("/rtc/a%2Fb/publisher/uid/7/"), apptest.Get("/rtm/%zz"),
				apptest.Post("/getToken", "{"), apptest.Get("/v1/ws"), apptest.Get("/v1/sessions"), apptest.Ask("DELETE", "/rtm/ana", ""), apptest.Ask("OPTIONS", "/rtm/ana", ""), apptest.Get("/rtm/ana?expiry=1;2"),
			} {
				sent := fmt.Sprintf("%s %s%s HTTP/1.1\r\nHost: calls\r\nOrigin: https://elsewhere.example\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", request.Method, base, request.Path, len(request.Body), request.Body)
				sendRaw(g, sent)
				sendRaw(g, sent[:len(sent)-3]) // cut off
				sendRaw(g, strings.Replace(sent, "HTTP/1.1", "HTTP/9", 1))
				sendRaw(g, strings.Replace(sent, "Host:", "X-Long: "+strings.Repeat("x", 20_000)+"\r\nHost:", 1))
			}
		}
		g.Join(`"rtm":{"userId":"ana"}`, apptest.Pass(nil)) // a join logs at level debug
		synctest.Wait()                                     // the last lines have been written then
		log := g.Log.Take() + g.Operations("/metrics")
		for _, line := range []string{`requests_total{code="200",route="GET /rtc/*/*/*/*"}`, "credential refused", "level=DEBUG"} {
			if !strings.Contains(log, line) {
				t.Errorf("nothing in the log has %q, so that it proves nothing:\n%s", line, log)
			}
		}
		header, _, _ := strings.Cut(apptest.Pass(nil), ".") // the same in all credentials, so the log may contain it
		for _, secret := range secrets {
			if secret != header && len(secret) > 8 && strings.Contains(log, secret) {
				t.Errorf("%q is in the log:\n%s", secret, log)
			}
		}
		if strings.Contains(log, "/with/") {
			t.Errorf("a path is in the log:\n%s", log)
		}
	})
}

// sendRaw sends a request's text and closes the connection before the answer.
func sendRaw(g *apptest.LoggedNode, text string) {
	g.T.Helper()
	c, err := g.Dial(g.T.Context(), "tcp", g.App.Addr().String())
	if err != nil {
		g.T.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = c.Write([]byte(text)) // fails if the server has closed the connection already
	synctest.Wait()
	_ = c.Close()
	synctest.Wait()
}

//go:build !race

package api_test

import (
	"fmt"
	"log/slog"
	"maps"
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

// After all kinds of requests with a credential in the path, neither the debug log nor the metrics contain the
// credential.
func TestCredentialInPathStaysOutOfLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.WithCredentials(c)
			c.CredentialInPath = true
		})
		g.Level.Set(slog.LevelDebug)
		g.Log.Take()
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
		g.Join(`"rtm":{"userId":"ana"}`, apptest.Pass(nil)) // this join writes log lines at level debug; the check below fails if there are none
		synctest.Wait()
		log := g.Log.Take() + g.Operations("/metrics")
		for _, line := range []string{`requests_total{code="200",route="GET /rtc/*/*/*/*"}`, "credential refused", "level=DEBUG"} {
			if !strings.Contains(log, line) {
				t.Errorf("nothing in the log has %q, so that it proves nothing:\n%s", line, log)
			}
		}
		header, _, _ := strings.Cut(apptest.Pass(nil), ".") // the header is the same in all credentials, so the log may contain it
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

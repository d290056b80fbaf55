//go:build !race

package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/agora"
	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/session"
)

// inspected is the answer about a token.
type inspected struct {
	AppID    string
	Services []struct{ Type, Channel, User string }
	Findings []struct{ Code, Severity, Text string }
}

// has reports whether the answer contains a finding with this code and severity.
func (i *inspected) has(code, severity string) bool {
	for _, f := range i.Findings {
		if f.Code == code && f.Severity == severity && f.Text != "" {
			return true
		}
	}
	return false
}

// mintWith makes an RTC token for user 7 in channel c.
func mintWith(t *testing.T, app, certificate string, issuedAt, expiresAt session.UnixSec) string {
	t.Helper()
	m, err := agora.NewMinter(app, certificate)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := m.Mint(session.Identity{RTC: &session.RTC{Channel: "c", UID: 7, Role: session.Publisher}}, session.Format007, issuedAt, expiresAt)
	if err != nil {
		t.Fatal(err)
	}
	return tokens.RTC
}

func TestInspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 2, func(_ int, c *app.Config) {
			c.Projects[0].Certificates = []string{apptest.Certificate, apptest.NextCertificate}
		})
		l := s.Open(s.Nodes[1].Address, apptest.JoinMessage(s.User, apptest.PublisherWants))
		good := l.Joined().Tokens.RTC.Token
		now := session.SecOf(time.Now())
		foreign := strings.Repeat("ab", 16)
		for name, c := range map[string]struct {
			token, use     string
			code, severity string
		}{
			"good":              {good, `,"channel":"c","uid":7`, "signed", "info"},
			"good, no use":      {good, ``, "signed", "info"},
			"good, as account":  {good, `,"channel":"c","account":"7"`, "signed", "info"},
			"next certificate":  {mintWith(t, apptest.AppID, apptest.NextCertificate, now, now+60), `,"channel":"c","uid":7`, "signed", "info"},
			"foreign":           {mintWith(t, apptest.AppID, foreign, now, now+60), `,"channel":"c","uid":7`, "signature", "error"},
			"another project":   {mintWith(t, foreign, apptest.Certificate, now, now+60), ``, "app_id", "error"},
			"expired":           {mintWith(t, apptest.AppID, apptest.Certificate, now-120, now-60), `,"channel":"c","uid":7`, "expired", "error"},
			"wrong channel":     {good, `,"channel":"d","uid":7`, "channel", "error"},
			"wrong uid":         {good, `,"channel":"c","uid":8`, "user", "error"},
			"for rtc":           {good, `,"service":"rtc"`, "signed", "info"},
			"not for rtm":       {good, `,"service":"rtm"`, "service", "error"},
			"not for chat":      {good, `,"service":"chat","channel":"c"`, "service", "error"},
			"cut":               {good[:len(good)/2], ``, "not_a_token", "error"},
			"garbage":           {"?", ``, "not_a_token", "error"},
			"nothing":           {"", ``, "static_key", "error"},
			"the App ID":        {apptest.AppID, ``, "static_key", "error"},
			"the certificate":   {apptest.Certificate, ``, "certificate", "error"},
			"another's secrets": {foreign, ``, "static_key", "error"},
		} {
			var got inspected
			answer, text := s.Ask(0, s.Admin, http.MethodPost, "/v1/tokens/inspect", fmt.Sprintf(`{"token":%q%s}`, c.token, c.use))
			if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d %s: %v", name, answer.StatusCode, text, err)
			}
			if !got.has(c.code, c.severity) {
				t.Errorf("%s: %+v, want %s", name, got.Findings, c.code)
			}
			errors := slices.ContainsFunc(got.Findings, func(f struct{ Code, Severity, Text string }) bool { return f.Severity == "error" })
			if errors != (c.severity == "error") {
				t.Errorf("%s: %+v", name, got.Findings)
			}
			if strings.Contains(text, apptest.Certificate) || strings.Contains(text, apptest.NextCertificate) {
				t.Errorf("%s: the answer shows a certificate", name)
			}
			if c.severity == "info" && (got.AppID != apptest.AppID || len(got.Services) != 1 || got.Services[0].Channel != "c" || got.Services[0].User != "7") {
				t.Errorf("%s: %+v", name, got)
			}
		}

		// A valid token is reported as expired later.
		time.Sleep(2 * time.Hour) // bubble
		var got inspected
		s.Order(1, http.MethodPost, "/v1/tokens/inspect", fmt.Sprintf(`{"token":%q}`, good), &got)
		if !got.has("expired", "error") {
			t.Errorf("two hours later: %+v", got.Findings)
		}
	})
}

func TestInspectRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := apptest.NewCluster(t, 1, nil)
		for _, c := range []struct {
			credential, body string
			status           int
		}{
			{s.Admin, `{"token":"x","uid":1,"account":"a"}`, 400},
			{s.Admin, `{"token":5}`, 400},
			{s.Admin, `{"token":"x","service":"rtd"}`, 400},
			{s.Admin, `{"token":"x","service":"fpa"}`, 400},
			{s.Admin, `{"token":"x","service":1}`, 400},
			{s.Admin, `{"token":"x","uid":-1}`, 400},
			{s.Admin, `[`, 400},
			{s.Admin, ``, 400},
			{s.Admin, `{"token":"` + strings.Repeat("x", 9<<10) + `"}`, 400},
			{s.User, `{"token":"x"}`, 403},
			{"", `{"token":"x"}`, 401},
		} {
			if answer, text := s.Ask(0, c.credential, http.MethodPost, "/v1/tokens/inspect", c.body); answer.StatusCode != c.status {
				t.Errorf("%.40s: %d %s, want %d", c.body, answer.StatusCode, text, c.status)
			}
		}
	})
}

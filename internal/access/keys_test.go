//go:build !race

package access_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refresher/internal/app"
	"refresher/internal/app/apptest"
	"refresher/internal/protocol"
)

const unknownKey = "this session or its key is unknown; join again"

// renewWith renews a session over HTTP, and returns the status.
func renewWith(g *apptest.LoggedNode, session, key string) int {
	g.T.Helper()
	r, _ := g.Visit("POST", "/v1/sessions/"+session+"/renew", "", "Authorization", "Bearer "+key)
	return r.StatusCode
}

// A resume, a renewal over HTTP and a leave over HTTP accept only the session's own key. All wrong keys get the same
// error, so that the error reveals nothing about the session.
func TestForgedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.TwoProjects)
		elsewhere := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.Listen, c.OpsListen, c.SessionSecret = "127.0.0.1:8081", "127.0.0.1:9091", "seals the keys of another service"
		})
		victim, other := apptest.FirstTenant.Open(g, nil), apptest.FirstTenant.Open(g, map[string]any{"sub": "bob"})
		foreign, stranger := apptest.SecondTenant.Open(g, nil), apptest.FirstTenant.Open(elsewhere, nil)
		joined := func(h *apptest.Holder) apptest.Message {
			_, joined, _, _ := h.State()
			return joined
		}
		own := joined(victim)
		issued := g.Metrics()["refresher_tokens_issued_total"]
		for name, m := range map[string]apptest.Message{
			"the key of another session":  {Session: own.Session, Key: joined(other).Key},
			"the key of another project":  {Session: own.Session, Key: joined(foreign).Key},
			"the key of another service":  {Session: own.Session, Key: joined(stranger).Key},
			"a key that is cut":           {Session: own.Session, Key: own.Key[:len(own.Key)-4]},
			"a credential":                {Session: own.Session, Key: apptest.Pass(nil)},
			"the id of another session":   {Session: joined(other).Session, Key: own.Key},
			"the id of another project":   {Session: joined(foreign).Session, Key: own.Key},
			"an id that is far too long":  {Session: strings.Repeat("S", 5000), Key: own.Key},
			"an id that was never issued": {Session: "x", Key: own.Key},
		} {
			for _, r := range []struct {
				path, body, authorization string
			}{
				{"/renew", "", "Bearer " + m.Key},
				{"/leave", apptest.AsJSON(map[string]string{"key": m.Key}), ""},
			} {
				answer, text := g.Visit("POST", "/v1/sessions/"+m.Session+r.path, r.body, "Authorization", r.authorization)
				if answer.StatusCode != http.StatusNotFound || !strings.Contains(text, unknownKey) {
					t.Errorf("%s with %s: %d %s", r.path, name, answer.StatusCode, text)
				}
			}
			s := g.Connect()
			s.Send(apptest.ResumeText(m, 1))
			if m := s.Expect(protocol.TypeError); m.Code != "unknown_session" || m.Message != unknownKey {
				t.Errorf("a resume with %s: %+v", name, m)
			}
			s.Closed(protocol.CloseUnknownSession)
		}
		if now := g.Metrics()["refresher_tokens_issued_total"]; now != issued {
			t.Errorf("%v tokens minted", now-issued)
		}
		if newest, _, ended, closed := victim.State(); newest.Seq != 1 || ended != "" || closed != 0 {
			t.Errorf("the session: seq %d, ended %q, closed with %d", newest.Seq, ended, closed)
		}
		victim.Lose()
		if !victim.Back() {
			t.Error("the key itself is refused")
		}
		for _, h := range []*apptest.Holder{victim, other, foreign, stranger} {
			h.Leave()
		}
	})
}

// After a change of the session secret, resume keys that were encrypted with the previous secret are still accepted.
// They are replaced by keys that are encrypted with the new secret.
func TestSessionSecretIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, second, third = "the first session secret", "the second session secret", "the third session secret"
		var g *apptest.LoggedNode
		restart := func(secret, previous string) {
			if g != nil {
				g.Stop()
			}
			g = apptest.NewLoggedNode(t, func(c *app.Config) {
				apptest.WithCredentials(c)
				c.SessionSecret, c.PreviousSessionSecret = secret, previous
			})
		}
		restart(first, "")
		h := apptest.FirstTenant.Open(g, nil)
		_, oldest, _, _ := h.State()
		restart(second, first)
		h.G = g
		if h.Reading.Wait(); !h.Back() {
			t.Error("a key under the previous secret is refused")
		}
		restart(third, second)
		if got := renewWith(g, oldest.Session, oldest.Key); got != http.StatusNotFound {
			t.Errorf("a key under the first of three secrets: %d", got)
		}
		h.G = g
		if h.Reading.Wait(); !h.Back() {
			t.Error("the replaced key is refused")
		}
		h.Leave()
	})
}

// Without a session secret, resume keys are derived from the certificates. A resume key is valid as long as its
// certificate is in the file, both on a running node and on a node that starts later.
func TestCertificateFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "certificate")
		write := func(certificates ...string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(strings.Join(certificates, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			// The node checks the file every 5 s.
			time.Sleep(6 * time.Second) // bubble
		}
		node := func(certificates ...string) *apptest.LoggedNode {
			write(certificates...)
			return apptest.NewLoggedNode(t, func(c *app.Config) {
				apptest.WithCredentials(c)
				c.Projects[0].Certificates, c.Projects[0].CertificateFile = certificates, file
				c.Heartbeat = time.Hour
			})
		}
		g := node(apptest.Certificate)
		h := apptest.FirstTenant.Open(g, nil)
		_, first, _, _ := h.State()
		check := func(when string, want int) {
			t.Helper()
			if got := renewWith(g, first.Session, first.Key); got != want {
				t.Errorf("%s: %d, want %d", when, got, want)
			}
		}
		h.Lose()
		h.SignedBy(apptest.Certificate)
		write(apptest.NewCertificate, apptest.Certificate)
		check("its certificate is the second one", http.StatusOK)
		write("not a certificate")
		check("the file is malformed", http.StatusOK)
		write(apptest.NewCertificate)
		check("its certificate is gone", http.StatusNotFound)
		g.Stop()
		g = node(apptest.NewCertificate, apptest.Certificate)
		check("on another node", http.StatusOK)
		g.Stop()
		g = node(apptest.NewCertificate)
		check("on a node without its certificate", http.StatusNotFound)
	})
}

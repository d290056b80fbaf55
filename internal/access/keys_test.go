//go:build !race

package access_test

import (
	"encoding/base64"
	"fmt"
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
	"refresher/internal/store"
)

// leaveWith ends a session over HTTP with a resume key.
func leaveWith(g *apptest.LoggedNode, session, key string) (apptest.Reply, string) {
	g.T.Helper()
	return g.Visit("POST", "/v1/sessions/"+session+"/leave", apptest.AsJSON(map[string]string{"key": key}))
}

// renewWith renews a session over HTTP with a resume key.
func renewWith(g *apptest.LoggedNode, session, key string) (apptest.Reply, string) {
	g.T.Helper()
	return g.Visit("POST", "/v1/sessions/"+session+"/renew", "", "Authorization", "Bearer "+key)
}

const unknownKey = "this session and key are not known here; join afresh"

// TestForgedKeys changes each bit of a resume key, extends it, encodes it otherwise, and replaces it by other keys.
// Each forged key is refused, and the answer does not reveal why.
func TestForgedKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := apptest.NewLoggedNode(t, apptest.TwoProjects)
		victim, other := apptest.FirstTenant.Open(g, nil), apptest.FirstTenant.Open(g, map[string]any{"sub": "bob"})
		foreign := apptest.SecondTenant.Open(g, nil)
		_, joined, _, _ := victim.State()
		_, otherJoined, _, _ := other.State()
		_, foreignJoined, _, _ := foreign.State()
		elsewhere := apptest.NewLoggedNode(t, func(c *app.Config) {
			apptest.TwoProjects(c)
			c.Listen, c.OpsListen, c.SessionSecret = "127.0.0.1:8081", "127.0.0.1:9091", "seals the keys of another service"
		})
		stranger := apptest.FirstTenant.Open(elsewhere, nil)
		_, strangerJoined, _, _ := stranger.State()

		raw, err := base64.RawURLEncoding.DecodeString(joined.Key)
		if err != nil {
			t.Fatal(err)
		}
		forged := map[string]string{
			"of another session":     otherJoined.Key,
			"of another project":     foreignJoined.Key,
			"of another service":     strangerJoined.Key,
			"padded":                 base64.URLEncoding.EncodeToString(append(raw, 0)),
			"with more at its end":   base64.RawURLEncoding.EncodeToString(append(raw, 0, 0, 0)),
			"twice":                  joined.Key + joined.Key,
			"in another alphabet":    strings.NewReplacer("-", "+", "_", "/").Replace(joined.Key + "-_"),
			"in hexadecimal":         fmt.Sprintf("%x", raw),
			"in upper case":          strings.ToUpper(joined.Key),
			"10 KiB":                 strings.Repeat("A", 10<<10),
			"10 KiB after it":        joined.Key + strings.Repeat("A", 10<<10),
			"nothing but its format": "AQ",
			"a credential":           apptest.Pass(nil),
			"null":                   "null",
		}
		// Another base64 text of the same bytes is not accepted.
		if spare := len(raw) % 3; spare != 0 {
			forged["in another form"] = joined.Key[:len(joined.Key)-1] + next(joined.Key[len(joined.Key)-1:])
		}
		for i := range raw {
			for _, bit := range []byte{1, 0x80} {
				spoiled := append([]byte{}, raw...)
				spoiled[i] ^= bit
				forged[fmt.Sprintf("with bit %#x of byte %d flipped", bit, i)] = base64.RawURLEncoding.EncodeToString(spoiled)
			}
		}
		for n := range len(joined.Key) {
			if n > 0 {
				forged[fmt.Sprintf("cut to %d", n)] = joined.Key[:n]
			}
		}

		issued := g.Metrics()["refresher_tokens_issued_total"]
		for name, key := range forged {
			if r, text := renewWith(g, joined.Session, key); r.StatusCode != http.StatusNotFound || !strings.Contains(text, unknownKey) {
				t.Errorf("a key %s: %d %s", name, r.StatusCode, text)
			}
			if len(key) > 8000 || key == "" {
				continue // the body would be too long, or would have no key
			}
			if r, text := leaveWith(g, joined.Session, key); r.StatusCode != http.StatusNotFound || !strings.Contains(text, unknownKey) {
				t.Errorf("left with a key %s: %d %s", name, r.StatusCode, text)
			}
		}
		for name, key := range forged {
			if len(key) > 8000 || strings.Contains(name, "byte") && !strings.HasSuffix(name, "0 flipped") || strings.HasPrefix(name, "cut") && !strings.HasSuffix(name, "0") {
				continue // a few of the forged keys suffice over a connection
			}
			s := g.Connect()
			s.Send(apptest.ResumeText(apptest.Message{Session: joined.Session, Key: key}, 1))
			if m := s.Expect(protocol.TypeError); m.Code != "unknown_session" || m.Message != unknownKey {
				t.Errorf("a key %s: %+v", name, m)
			}
			s.Closed(protocol.CloseUnknownSession)
		}
		t.Logf("%d forged keys", len(forged))

		// The resume key is refused with another session's id.
		for _, id := range []string{otherJoined.Session, foreignJoined.Session, strings.ToLower(joined.Session), joined.Session + "%20", "x", strings.Repeat("S", 5000)} {
			if r, text := renewWith(g, id, joined.Key); r.StatusCode != http.StatusNotFound || !strings.Contains(text, unknownKey) {
				t.Errorf("the key with id %.40s: %d %s", id, r.StatusCode, text)
			}
			if r, text := leaveWith(g, id, joined.Key); r.StatusCode != http.StatusNotFound || !strings.Contains(text, unknownKey) {
				t.Errorf("left with the key and id %.40s: %d %s", id, r.StatusCode, text)
			}
		}
		for header, status := range map[string]int{
			"": http.StatusUnauthorized, "Bearer": http.StatusUnauthorized, "Bearer ": http.StatusUnauthorized,
			"Basic " + joined.Key: http.StatusUnauthorized, "Bearer " + strings.Repeat("A", 32<<10): http.StatusRequestHeaderFieldsTooLarge,
		} {
			if r, text := g.Visit("POST", "/v1/sessions/"+joined.Session+"/renew", "", "Authorization", header); r.StatusCode != status {
				t.Errorf("Authorization: %.20s: %d %s, want %d", header, r.StatusCode, text, status)
			}
		}
		for _, text := range []string{`{"type":"resume","session":"` + joined.Session + `"}`, `{"type":"resume","session":"` + joined.Session + `","key":""}`} {
			s := g.Connect()
			s.Send(text)
			if m := s.Expect(protocol.TypeError); m.Code != "bad_request" && m.Code != "unknown_session" {
				t.Errorf("%s: %+v", text, m)
			}
		}
		if now := g.Metrics()["refresher_tokens_issued_total"]; now != issued {
			t.Errorf("%v tokens minted", now-issued)
		}
		if log := g.Log.Take(); strings.Contains(log, joined.Key) {
			t.Error("the log has a key")
		}

		// The attempts have not changed the session.
		if newest, _, ended, closed := victim.State(); newest.Seq != 1 || ended != "" || closed != 0 {
			t.Errorf("the session: seq %d, ended %q, closed with %d", newest.Seq, ended, closed)
		}
		victim.Lose()
		if !victim.Back() {
			t.Error("the key itself is not taken")
		}
		for _, h := range []*apptest.Holder{victim, other, foreign, stranger} {
			h.Leave()
		}
	})
}

// next returns the base64 character whose value is one higher.
func next(c string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.Index(alphabet, c)+1:][:1]
}

// After a change of the session secret, resume keys under the previous one are still accepted, and
// are replaced by keys under the new one.
func TestSessionSecretIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first, second, third = "the first session secret", "the second session secret", "the third session secret"
		node := func(secret, previous string) *apptest.LoggedNode {
			return apptest.NewLoggedNode(t, func(c *app.Config) {
				apptest.WithCredentials(c)
				c.SessionSecret, c.PreviousSessionSecret = secret, previous
			})
		}
		// move stops the client's node and resumes the session on another node.
		move := func(h *apptest.Holder, to *apptest.LoggedNode, want bool) {
			t.Helper()
			h.Reading.Wait()
			if h.G = to; h.Back() != want {
				t.Errorf("taken: %t", !want)
			}
		}
		g := node(first, "")
		h := apptest.FirstTenant.Open(g, nil)
		_, oldest, _, _ := h.State()
		g.Stop()
		g = node(second, first)
		move(h, g, true)
		// The node could decrypt this resume key, but refuses it, since a newer key has replaced it.
		if r, text := renewWith(g, oldest.Session, oldest.Key); r.StatusCode != http.StatusGone {
			t.Errorf("the first key: %d %s", r.StatusCode, text)
		}
		_, newer, _, _ := h.State()
		g.Stop()
		g = node(third, second)
		if r, _ := renewWith(g, oldest.Session, oldest.Key); r.StatusCode != http.StatusNotFound {
			t.Errorf("a key under the secret before the one before: %d", r.StatusCode)
		}
		if r, text := renewWith(g, newer.Session, newer.Key); r.StatusCode != http.StatusOK {
			t.Errorf("a key under the secret before: %d %s", r.StatusCode, text)
		}
		move(h, g, true)
		h.Leave()
	})
}

// The certificate file changes while resume keys are derived from it: new tokens are signed with the
// new certificate, and existing keys stay valid.
func TestCertificateFileChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "certificate")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(6 * time.Second) // bubble: the node checks the file every 5 s
		}
		write(apptest.Certificate + "\n")
		node := func(certificates ...string) *apptest.LoggedNode {
			return apptest.NewLoggedNode(t, func(c *app.Config) {
				apptest.WithCredentials(c)
				c.Projects[0].Certificates, c.Projects[0].CertificateFile = certificates, file
				c.Heartbeat = time.Hour
			})
		}
		g := node(apptest.Certificate)
		h := apptest.FirstTenant.Open(g, nil)
		late := apptest.FirstTenant.Open(g, map[string]any{"sub": "late"}) // keeps its first resume key until the end
		_, lateJoined, _, _ := late.State()
		late.Lose()
		h.SignedBy(apptest.Certificate)

		// A second certificate in the file is accepted before tokens are signed with it.
		write(apptest.Certificate + "\n" + apptest.NewCertificate + "\n")
		h.Lose()
		if !h.Back() {
			t.Error("not taken after a certificate was added")
		}
		h.SignedBy(apptest.Certificate)

		write(apptest.NewCertificate + "\n" + apptest.Certificate + "\n")
		if swapped := g.Log.Take(); !strings.Contains(swapped, "another certificate from now on") || strings.Contains(swapped, apptest.NewCertificate) {
			t.Errorf("the log: %s", swapped)
		}
		h.SignedBy(apptest.NewCertificate)
		h.Lose()
		if !h.Back() {
			t.Error("not taken after the certificates were swapped")
		}

		// A malformed file changes nothing.
		for _, broken := range []string{"", "\n\n", "not a certificate\n", strings.Repeat(apptest.NewCertificate+"\n", 9)} {
			write(broken)
			h.Socket.Send(`{"type":"renew"}`)
			time.Sleep(time.Second) // bubble
			h.SignedBy(apptest.NewCertificate)
			if log := g.Log.Take(); strings.Contains(log, "not a certificate") {
				t.Errorf("the log has what was in the file: %s", log)
			}
		}

		// Keys under the previous certificate are valid while it is in the file.
		if r, text := renewWith(g, lateJoined.Session, lateJoined.Key); r.StatusCode != http.StatusOK {
			t.Errorf("the oldest key: %d %s", r.StatusCode, text)
		}
		write(apptest.NewCertificate + "\n")
		if r, _ := renewWith(g, lateJoined.Session, lateJoined.Key); r.StatusCode != http.StatusNotFound {
			t.Errorf("the oldest key, when its certificate is gone: %d", r.StatusCode)
		}
		newest, joined, _, _ := h.State()
		g.Stop()
		h.Reading.Wait()

		// The same holds on nodes that start later.
		write(apptest.NewCertificate + "\n" + apptest.Certificate + "\n")
		g = node(apptest.NewCertificate, apptest.Certificate)
		if r, text := renewWith(g, lateJoined.Session, lateJoined.Key); r.StatusCode != http.StatusOK {
			t.Errorf("the oldest key, on another node: %d %s", r.StatusCode, text)
		}
		g.Stop()
		write(apptest.ThirdCertificate + "\n" + apptest.NewCertificate + "\n")
		g = node(apptest.ThirdCertificate, apptest.NewCertificate)
		if r, _ := renewWith(g, lateJoined.Session, lateJoined.Key); r.StatusCode != http.StatusNotFound {
			t.Errorf("the oldest key, on a node without its certificate: %d", r.StatusCode)
		}
		h.G = g
		h.Connect(apptest.ResumeText(joined, newest.Seq))
		h.SignedBy(apptest.ThirdCertificate)
		h.Leave()
	})
}

// The resume key of a revoked session is refused: on the node with the revocation, on one that
// starts later, and after the revocation has expired.
func TestKeysDoNotOutliveARevocation(t *testing.T) {
	for name, revoke := range map[string]func(id string) (method, path, body string){
		"the session": func(id string) (string, string, string) { return "DELETE", "/v1/sessions/" + id, "" },
		"the channel": func(string) (string, string, string) {
			return "POST", "/v1/revocations", `{"channel":"daily","for":60}`
		},
		"the subject": func(string) (string, string, string) { return "POST", "/v1/revocations", `{"subject":"ana","for":60}` },
		"the user":    func(string) (string, string, string) { return "POST", "/v1/revocations", `{"uid":7,"for":60}` },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := store.NewMemory(time.Now)
				network := apptest.NewNetwork()
				node := func() *apptest.LoggedNode {
					return apptest.StartLoggedNode(t, func(c *app.Config) {
						apptest.WithCredentials(c)
						c.Listen, c.OpsListen, c.Heartbeat = apptest.ServiceAddress, "127.0.0.1:9090", time.Hour
					}, app.Outside{Listen: network.Listen, Store: memory}, network.Dial)
				}
				g := node()
				here, away := apptest.FirstTenant.Open(g, nil), apptest.FirstTenant.Open(g, nil)
				away.Lose()
				time.Sleep(time.Second) // bubble
				for _, h := range []*apptest.Holder{here, away} {
					_, joined, _, _ := h.State()
					method, path, body := revoke(joined.Session)
					if r := g.Admin(method, path, body, nil); r.StatusCode != http.StatusOK {
						t.Errorf("%s %s: %d", method, path, r.StatusCode)
					}
				}
				synctest.Wait()
				if _, _, ended, closed := here.State(); ended != "revoked" || closed != protocol.CloseEnded {
					t.Errorf("ended %q, closed with %d", ended, closed)
				}
				issued := g.Metrics()["refresher_tokens_issued_total"]
				tryAll := func(when string) {
					t.Helper()
					for _, h := range []*apptest.Holder{here, away} {
						h.Reading.Wait()
						h.Ended = ""
						if status := h.OverHTTP(); status != http.StatusGone {
							t.Errorf("%s, over HTTP: %d", when, status)
						}
						if h.Back() {
							t.Errorf("%s: taken", when)
						}
						h.Reading.Wait()
						if _, _, ended, closed := h.State(); ended != "revoked" || closed != protocol.CloseEnded {
							t.Errorf("%s: ended %q, closed with %d", when, ended, closed)
						}
					}
					if now := g.Metrics()["refresher_tokens_issued_total"]; now != issued {
						t.Errorf("%s: %v tokens minted", when, now-issued)
					}
				}
				tryAll("at once")
				g.Stop()
				g = node()
				here.G, away.G, issued = g, g, 0
				tryAll("on a new node")
				time.Sleep(2 * time.Minute) // bubble
				tryAll("when the revocation's time is over")
			})
		})
	}
}
